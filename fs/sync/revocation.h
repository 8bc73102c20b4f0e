// Revocations: whoever has the volume's signing key says that a device is a member no more, and up to where its records count.
//
// Object slot/<id>.revoked, kept and put back by devices like the removal of a slot:
//
//   magic "coffrevo" 8 | version u16 = 1 | id 16, random | device 16 | made i64, nanoseconds since 1970
//   | accepted: count varint | count x ( log 16 | number u64 | hash 32 ), rising by log: of each of its logs the last record
//     that counts; of others none
//   | kept: count varint | count x device 16, rising: those that it vouched for (crypto/keys.h) and that stay members
//   | signature 64: Ed25519 by the volume's signing key over "coffer revocation" 0x00 | volume 16 | all before it
//
// All other records of the device are void, and all of devices that it vouched for and that are not kept: they keep their
// place in their logs (number, hash and stamp), so that records which quote them still verify, but their changes and packs
// count as empty, whatever their stamps say, and whoever had applied them makes the state anew without them. Of several
// revocations of one device, for each log the greatest number counts, and all that are kept by one are kept: what is void
// does not depend on the order in which they come.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "base/mutex.h"
#include "base/rows.h"
#include "crypto/keys.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/record.h"

namespace coffer {

// Takes away what does not count of a record that is void; its place stays.
void strip(Record& record);

inline constexpr size_t kMaxRevocationSize = 1 << 20;  // some 18,000 logs

struct Revocation {
  ObjectId id;
  DeviceId device;
  WallTime made;
  std::vector<LogHead> accepted;
  std::vector<DeviceId> kept;
};

// A new id is given. kTooLarge.
Result<Bytes> make_revocation(Revocation revocation, const VolumeId& volume, const SigningKey& volume_signing);
bool is_revocation(BytesView object);
// kCorrupt: nobody with the signing key says so; kTooNew.
Result<Revocation> verify_revocation(BytesView object, const VolumeId& volume, const PublicKey& signing_public);

// What the revocations that are known say together. Thread-safe.
class Revocations {
 public:
  Revocations() = default;
  Revocations(const Revocations& other);
  Revocations& operator=(const Revocations& other);

  void add(const Revocation& revocation);
  // Those among slots, removals and revocations that verify.
  void add_all(const std::vector<Bytes>& objects, const VolumeId& volume, const PublicKey& signing_public);
  bool empty() const;
  // Whether it is revoked, or vouched for by one that is and does not keep it.
  bool revoked(const DeviceId& device, const std::vector<DeviceId>& vouchers) const;
  bool revoked(const LogTail& log) const { return revoked(log.device, log.vouchers); }
  bool revoked(const DeviceCertificate& certificate) const;
  // The last record of the log that counts: UINT64_MAX when nothing is void.
  uint64_t last_valid(const LogTail& log) const;
  bool is_void(const LogTail& log, uint64_t number, const Hash& hash) const;
  // Whether the same of these logs is void by both, as far as they go.
  bool same_for(const Revocations& other, const std::vector<LogTail>& logs) const;

  // Row "Sv" -> version u8 = 1 | count varint | count x ( device 16 | accepted | kept, as in the object ): what the state
  // has been made with. Also in checkpoints, when there are any.
  static RowKey row_key();
  Bytes encode() const;
  static Result<Revocations> decode(BytesView row);

 private:
  struct Limits {
    std::map<LogId, LogHead> accepted;
    std::set<DeviceId> kept;
  };
  bool revoked_by_voucher(const DeviceId& device, const std::vector<DeviceId>& vouchers) const REQUIRES(mutex_);
  // nullptr: nothing of it counts.
  const LogHead* last_head(const LogTail& log) const REQUIRES(mutex_);

  mutable Mutex mutex_{Rank::kLeaf};
  std::map<DeviceId, Limits> devices_ GUARDED_BY(mutex_);
};

}  // namespace coffer
