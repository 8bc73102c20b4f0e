// The remote side, as coffer needs it: immutable blobs under short keys. Nothing here asks a store to honour a
// precondition, a lock or a clock.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace coffer {

struct ObjectInfo {
  std::string key;
  uint64_t size = 0;
};

// Keys are relative to the volume's prefix: components of [A-Za-z0-9._-] joined by '/', no component starting with '.',
// at most 200 bytes.
bool valid_object_key(std::string_view key);
// One component of a key.
bool valid_key_component(std::string_view component);
// "" or a valid key followed by '/'.
bool valid_list_prefix(std::string_view prefix);
// What every implementation checks first: kInvalid for a bad key or prefix, kCancelled when `stop` was requested.
Result<void> check_key(std::string_view operation, const std::string& key, const std::stop_token& stop);
Result<void> check_prefix(const std::string& prefix, const std::stop_token& stop);

// Errors, the same for every implementation (text names the operation, the key and what the server said):
//   kNotFound    no such object (get)            kDenied     credentials missing, wrong, or not allowed to
//   kUnavailable connection, 5xx, 429: retried inside with backoff first, then returned; may pass later
//   kTimedOut    no progress for the stall time  kUntrusted  the TLS peer did not verify
//   kCancelled   `stop` was requested            kNoSpace    507, quota
//   kInvalid     configuration that cannot work (no such bucket, not a WebDAV collection, bad URL)
//   kCorrupt     the answer makes no sense (short body, broken listing)
// After a put that returned an error, the object may or may not be there, whole; never trust either.
//
// Thread-safe; calls block their thread and run in parallel up to the transport's limits.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // Stores `data` under `key`, replacing what is there. When it returns ok, the object is whole, visible to get, and as
  // durable as the store makes things. A reader never takes a half-written body for the object.
  virtual Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) = 0;
  // The whole object; kTooLarge when it has more than `limit` bytes.
  virtual Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) = 0;
  // Exactly [offset, offset + length) or fewer bytes when the object ends before; kNotFound when there is none.
  virtual Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length,
                                  std::stop_token stop = {}) = 0;
  // All objects whose key starts with `prefix` (which ends at a '/'), in no particular order. A listing that broke off
  // is an error, never a short answer. Objects made while it runs may or may not appear. Foreign names are skipped.
  virtual Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) = 0;
  // Idempotent: removing what is not there is ok.
  virtual Result<void> remove(const std::string& key, std::stop_token stop = {}) = 0;

  // For people: "s3://bucket/prefix at https://host", never credentials.
  virtual std::string describe() const = 0;
};

// What crossed the wire, as counted by the transport (or the directory). Snapshot of monotonic counters.
struct StoreCounters {
  uint64_t put = 0, get = 0, list = 0, remove = 0, other = 0;  // requests sent, retries included
  uint64_t retries = 0;
  uint64_t bytes_up = 0, bytes_down = 0;  // bodies
};

}  // namespace coffer
