// The keys of a volume's objects, in both directions. Names that are not of these forms belong to somebody else, and are
// passed over.
//
//   coffer                                       the head (volume.h)
//   slot/<slot id, 32 hex>                       key slots
//   slot/<slot id, 32 hex>.removed               that a key slot counts no more
//   slot/<id, 32 hex>.revoked                    that a device is a member no more (revocation.h)
//   log/<log, 32 hex>/<n>-<tag, 16 hex>          record n of a log, n in decimal from 1; the tag is random
//   log/archive/<id, 32 hex>                     many records in one object (record_archive.h)
//   head/<log, 32 hex>-<n>-<tag, 16 hex>         a hint without content: that record exists. One LIST of head/ tells the
//                                                newest record of every log, with its key. Written after the record, the
//                                                one before is removed; never trusted, never needed.
//   head/checkpoint-<stamp>-<root, 32 hex>       a hint without content: that checkpoint exists; stamp in decimal from 1.
//                                                Never trusted, never needed.
//   head/epoch-<number>                          a hint without content: that epoch has begun, and slot/ is to be looked at;
//                                                in decimal from 1. Never trusted, never needed.
//   pair/<request, 32 hex>                       a new device asks to be let in (pairing.h)
//   pair/<request, 32 hex>.answer                a member's answer to it
//   obj/<first 2 hex of id>/<id, 32 hex>         packs, segments and roots of checkpoints
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace coffer {

inline constexpr char kVolumeKey[] = "coffer";
inline constexpr char kSlotPrefix[] = "slot/";
inline constexpr char kLogPrefix[] = "log/";
inline constexpr char kArchivePrefix[] = "log/archive/";
inline constexpr char kHintPrefix[] = "head/";
inline constexpr char kObjectPrefix[] = "obj/";
inline constexpr char kPairPrefix[] = "pair/";

// Which object a record is. Only (log, number) is bound to its content; the tag keeps two writers of one number (a log
// whose state directory was copied) from overwriting each other.
struct RecordName {
  LogId log;
  uint64_t number = 0;
  uint64_t tag = 0;

  std::string key() const;
  std::string hint() const;
  auto operator<=>(const RecordName&) const = default;
};

// A checkpoint as a hint names it. The stamp is only said.
struct CheckpointName {
  uint64_t stamp = 0;
  ObjectId root;

  std::string hint() const;
  auto operator<=>(const CheckpointName&) const = default;
};

std::string log_prefix(const LogId& log);
std::optional<LogId> parse_log_prefix(std::string_view prefix);
std::string archive_key(const ObjectId& archive);
std::optional<ObjectId> parse_archive_key(std::string_view key);
std::optional<RecordName> parse_record_key(std::string_view key);
std::optional<RecordName> parse_hint_key(std::string_view key);
std::optional<CheckpointName> parse_checkpoint_hint(std::string_view key);
std::string epoch_hint(Epoch epoch);
std::optional<Epoch> parse_epoch_hint(std::string_view key);
std::string pack_key(const ObjectId& pack);  // or segment, or root
std::optional<ObjectId> parse_pack_key(std::string_view key);
std::string slot_key(const ObjectId& slot);
std::string slot_removal_key(const ObjectId& slot);
std::string revocation_key(const ObjectId& revocation);
// The slot whose object, or whose removal, is called so; or the revocation.
struct SlotName {
  ObjectId slot;
  bool removal = false;
  bool revocation = false;

  auto operator<=>(const SlotName&) const = default;
};
std::optional<SlotName> parse_slot_key(std::string_view key);
std::string pair_request_key(const ObjectId& request);
std::string pair_answer_key(const ObjectId& request);
// The request that is called so, or whose answer.
struct PairName {
  ObjectId request;
  bool answer = false;

  auto operator<=>(const PairName&) const = default;
};
std::optional<PairName> parse_pair_key(std::string_view key);

}  // namespace coffer
