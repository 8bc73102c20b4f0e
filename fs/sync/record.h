// Records: the signed, sealed entries of a log, as objects log/<log>/<n>-<tag>.
//
//     0  epoch u32                        of the keys that it is sealed with
//     4  sealed header, 50 bytes          AEAD( version u16 = 1 | body length u32 | carried length u32 )
//    54  sealed body                      AEAD( body plaintext ), 40 bytes longer than the body length
//        carried bytes                    of packs, as they are (their frames are sealed)
//        random padding                   to padded_size() of all before: the object has exactly that size
//
// Associated data: kRecord, the log, place = n, extra "h" for the header and "b" for the body.
//
// Body plaintext:
//   version u16 = 1 | stamp u64 | hash of record n - 1 of the log, or zero: 32 | author's wall time i64, ns
//   | flags u8: 1 opening, 2 closing, 4 acknowledgement, 8 opening by a device that others vouch for
//   | if opening: certificate (crypto/keys.h) | its vouchers, if 8 | device name, varint-prefixed | predecessor: log 16 | number u64 | hash 32
//     (the device's log before this one, ended by this record; all zero when it has none)
//   | quoted heads: count varint | count x ( log 16 | number varint | hash 32 ), rising by log
//   | packs: count varint | count x ( pack 16 | where u8, then
//         0, an object obj/<..>/<pack> of its own:  size varint
//         1, carried here:                          at varint | first varint | length varint: `length` bytes, starting
//                                                   at `at` of the carried bytes, are the pack's from `first` on )
//   | hash of the carried bytes 32, if there are any
//   | method u8: how the change set is stored: 0 as it is | change set, to the signature (fs/model/change_set.h)
//   | signature 64: Ed25519 by the device's key over BLAKE2b-256 of
//         "coffer record" 0x00 | volume 16 | log 16 | n u64 | the body before the signature
//
// The hash of a record, as the next one and other logs name it, is BLAKE2b-256 of its body plaintext with the signature.
// Heads are quoted when they moved since the author's record before; the first record of a log quotes all that no later
// log of their device has succeeded. stamp = 1 + the greatest stamp among record n - 1, the predecessor and the heads.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "fs/model/change_set.h"

namespace coffer {

inline constexpr uint16_t kRecordVersion = 1;
inline constexpr size_t kRecordHeader = 4 + 10 + kSealOverhead;
inline constexpr size_t kRecordMax = size_t{1} << 30;  // whole object; larger ones are refused unread
inline constexpr size_t kDeviceNameMax = 64;

// A record of a log, by its content.
struct LogHead {
  LogId log;
  uint64_t number = 0;
  Hash hash;
  auto operator<=>(const LogHead&) const = default;
};

struct RecordPack {
  ObjectId id;
  bool carried = false;
  uint64_t size = 0;                       // not carried: of the object
  uint64_t at = 0, first = 0, length = 0;  // carried
  bool operator==(const RecordPack&) const = default;
};

struct RecordOpening {
  DeviceCertificate certificate;
  std::string device_name;
  std::optional<LogHead> predecessor;
};

struct Record {
  uint64_t stamp = 0;
  Hash previous;
  WallTime when;
  bool closing = false, acknowledgement = false;
  std::optional<RecordOpening> opening;
  std::vector<LogHead> heads;
  std::vector<RecordPack> packs;
  model::ChangeSet changes;
};

// 1 to kDeviceNameMax bytes of printable text without '/'.
bool valid_device_name(std::string_view name);

struct SealedRecord {
  Bytes object;
  Hash hash;
  uint64_t carried_at = 0;  // offset of the carried bytes in the object
};
// Signs and seals `record` as record `number` of `log`. kTooLarge: more than kRecordMax.
Result<SealedRecord> seal_record(const Record& record, BytesView carried, const VolumeId& volume, const LogId& log,
                                 uint64_t number, const EpochKeys& keys, const SigningKey& device);

struct OpenedRecord {
  LogId log;
  uint64_t number = 0;
  Hash hash;
  Record record;
  uint64_t carried_at = 0;
  Hash signed_digest;
  Signature signature;

  bool signed_by(const PublicKey& device) const;
};
// Null when this machine has no keys of that epoch.
using KeysOfEpoch = std::function<const EpochKeys*(Epoch)>;
// Opens an object that is said to be record `number` of `log`, and checks all that can be known from it alone; whose
// signature it must be, and whether it follows what is there, is for the caller. kUnavailable: it is shorter than it says
// and may not be whole yet; kCorrupt; kTooNew; kDenied: sealed with keys that this machine does not have.
Result<OpenedRecord> open_record(BytesView object, const VolumeId& volume, const LogId& log, uint64_t number,
                                 const KeysOfEpoch& keys);

}  // namespace coffer
