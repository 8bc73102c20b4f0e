// The state of a replica as ordered rows, key -> value. `fs/model` reads and writes nothing else; `cache` keeps them on
// disk; tests keep them in a std::map.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace coffer {

// A row's logical key. Rows sort bytewise by `bytes`. On disk only the first `clear` bytes are kept as they are; when
// there are more, the rest is replaced by a keyed hash of the whole key, so that it tells neither a name nor a size. Only
// keys that are clear as a whole can be walked with next().
struct RowKey {
  std::string bytes;
  size_t clear = 0;

  bool all_clear() const { return clear == bytes.size(); }
  bool operator==(const RowKey& o) const { return bytes == o.bytes; }
};

// A key that is clear as a whole.
inline RowKey clear_key(std::string bytes) {
  size_t size = bytes.size();
  return {std::move(bytes), size};
}

// Numbers in keys are big-endian, so that rows sort by them.
inline void append_number(std::string& key, uint64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(v >> shift));
}
inline uint64_t number_at(std::string_view key, size_t offset) {  // the key has 8 bytes there
  uint64_t v = 0;
  for (size_t i = 0; i < 8; ++i) v = v << 8 | static_cast<uint8_t>(key[offset + i]);
  return v;
}

struct Row {
  std::string key;
  Bytes value;
};

// One change: a new value, or nullopt for a removal.
struct RowPut {
  RowKey key;
  std::optional<Bytes> value;
};

// Not thread-safe by itself: the owner says who may call when. Reads fail only with kIo or kCorrupt.
class ReadRows {
 public:
  virtual ~ReadRows() = default;
  virtual Result<std::optional<Bytes>> get(const RowKey& key) const = 0;
  // The first row whose key is greater than `after` and starts with `prefix` (all_clear keys only).
  virtual Result<std::optional<Row>> next(std::string_view prefix, std::string_view after) const = 0;
};

class Rows : public ReadRows {
 public:
  virtual void put(RowKey key, Bytes value) = 0;
  virtual void erase(RowKey key) = 0;
};

}  // namespace coffer
