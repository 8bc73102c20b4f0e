#include "fs/sync/object_keys.h"

#include <charconv>
#include <cinttypes>
#include <cstdio>

namespace coffer {

namespace {

constexpr char kCheckpoint[] = "checkpoint-";
constexpr char kEpoch[] = "epoch-";
constexpr char kRemoved[] = ".removed", kRevoked[] = ".revoked";
constexpr char kAnswer[] = ".answer";

std::string number_and_tag(const RecordName& name) {
  char text[40];
  int n = std::snprintf(text, sizeof text, "%" PRIu64 "-%016" PRIx64, name.number, name.tag);
  return std::string(text, static_cast<size_t>(n));
}

bool is_lower_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// A number as std::to_string writes it, from 1.
std::optional<uint64_t> parse_number(std::string_view digits) {
  uint64_t number = 0;
  if (digits.empty() || digits.front() == '0') return std::nullopt;
  auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return number;
}

// Exactly what key() and hint() write, so that one record has one name.
std::optional<RecordName> parse(std::string_view log, char separator, std::string_view rest) {
  constexpr size_t kHexLog = 2 * LogId::kSize;
  if (log.size() != kHexLog || !is_lower_hex(log) || rest.empty() || rest.front() != separator) return std::nullopt;
  rest.remove_prefix(1);
  size_t dash = rest.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  std::string_view digits = rest.substr(0, dash), tag = rest.substr(dash + 1);
  if (tag.size() != 16 || !is_lower_hex(tag)) return std::nullopt;
  RecordName name;
  auto number = parse_number(digits);
  if (!number) return std::nullopt;
  name.number = *number;
  std::from_chars(tag.data(), tag.data() + tag.size(), name.tag, 16);
  auto id = unhex(log);
  if (!id) return std::nullopt;
  name.log = LogId::from(*id);
  return name;
}

std::optional<RecordName> parse_after(std::string_view prefix, char separator, std::string_view key) {
  if (!key.starts_with(prefix)) return std::nullopt;
  key.remove_prefix(prefix.size());
  if (key.size() < 2 * LogId::kSize) return std::nullopt;
  return parse(key.substr(0, 2 * LogId::kSize), separator, key.substr(2 * LogId::kSize));
}

// PREFIX id, or PREFIX id SUFFIX: the id, and whether the suffix is there.
std::optional<std::pair<ObjectId, bool>> parse_id_key(std::string_view key, std::string_view prefix,
                                                      std::string_view suffix) {
  if (!key.starts_with(prefix)) return std::nullopt;
  key.remove_prefix(prefix.size());
  const bool with_suffix = key.ends_with(suffix);
  if (with_suffix) key.remove_suffix(suffix.size());
  auto id = unhex(key);
  if (key.size() != 2 * ObjectId::kSize || !is_lower_hex(key) || !id) return std::nullopt;
  return std::pair(ObjectId::from(*id), with_suffix);
}

}  // namespace

std::string RecordName::key() const { return log_prefix(log) + number_and_tag(*this); }
std::string RecordName::hint() const { return kHintPrefix + log.str() + "-" + number_and_tag(*this); }
std::string log_prefix(const LogId& log) { return kLogPrefix + log.str() + "/"; }
std::optional<LogId> parse_log_prefix(std::string_view prefix) {
  if (!prefix.ends_with('/')) return std::nullopt;
  prefix.remove_suffix(1);
  auto id = parse_id_key(prefix, kLogPrefix, "/");
  return id && !id->second ? std::optional(LogId::from(id->first.view())) : std::nullopt;
}
std::string archive_key(const ObjectId& archive) { return kArchivePrefix + archive.str(); }
std::optional<ObjectId> parse_archive_key(std::string_view key) {
  auto id = parse_id_key(key, kArchivePrefix, "/");
  return id && !id->second ? std::optional(id->first) : std::nullopt;
}
std::optional<RecordName> parse_record_key(std::string_view key) { return parse_after(kLogPrefix, '/', key); }
std::optional<RecordName> parse_hint_key(std::string_view key) { return parse_after(kHintPrefix, '-', key); }

std::string CheckpointName::hint() const {
  return std::string(kHintPrefix) + kCheckpoint + std::to_string(stamp) + "-" + root.str();
}

std::optional<CheckpointName> parse_checkpoint_hint(std::string_view key) {
  const std::string prefix = std::string(kHintPrefix) + kCheckpoint;
  if (!key.starts_with(prefix)) return std::nullopt;
  key.remove_prefix(prefix.size());
  size_t dash = key.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  auto stamp = parse_number(key.substr(0, dash));
  std::string_view root = key.substr(dash + 1);
  if (!stamp || root.size() != 2 * ObjectId::kSize || !is_lower_hex(root)) return std::nullopt;
  auto id = unhex(root);
  if (!id) return std::nullopt;
  return CheckpointName{*stamp, ObjectId::from(*id)};
}

std::string epoch_hint(Epoch epoch) { return std::string(kHintPrefix) + kEpoch + std::to_string(epoch); }

std::optional<Epoch> parse_epoch_hint(std::string_view key) {
  const std::string prefix = std::string(kHintPrefix) + kEpoch;
  if (!key.starts_with(prefix)) return std::nullopt;
  auto number = parse_number(key.substr(prefix.size()));
  if (!number || *number > UINT32_MAX) return std::nullopt;
  return static_cast<Epoch>(*number);
}

std::string pack_key(const ObjectId& pack) {
  std::string id = pack.str();
  return kObjectPrefix + id.substr(0, 2) + "/" + id;
}

std::optional<ObjectId> parse_pack_key(std::string_view key) {
  const size_t before = std::string_view(kObjectPrefix).size() + 3;
  if (key.size() != before + 2 * ObjectId::kSize) return std::nullopt;
  auto id = unhex(key.substr(before));
  if (!id || key != pack_key(ObjectId::from(*id))) return std::nullopt;
  return ObjectId::from(*id);
}

std::string slot_key(const ObjectId& slot) { return kSlotPrefix + slot.str(); }
std::string slot_removal_key(const ObjectId& slot) { return slot_key(slot) + kRemoved; }

std::string revocation_key(const ObjectId& revocation) { return slot_key(revocation) + kRevoked; }

std::optional<SlotName> parse_slot_key(std::string_view key) {
  if (key.ends_with(kRevoked)) {
    auto revocation = parse_id_key(key, kSlotPrefix, kRevoked);
    return revocation ? std::optional(SlotName{revocation->first, false, true}) : std::nullopt;
  }
  auto name = parse_id_key(key, kSlotPrefix, kRemoved);
  return name ? std::optional(SlotName{name->first, name->second}) : std::nullopt;
}

std::string pair_request_key(const ObjectId& request) { return kPairPrefix + request.str(); }
std::string pair_answer_key(const ObjectId& request) { return pair_request_key(request) + kAnswer; }

std::optional<PairName> parse_pair_key(std::string_view key) {
  auto name = parse_id_key(key, kPairPrefix, kAnswer);
  return name ? std::optional(PairName{name->first, name->second}) : std::nullopt;
}

}  // namespace coffer
