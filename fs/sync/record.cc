#include "fs/sync/record.h"

#include <algorithm>

#include "crypto/associated_data.h"
#include "crypto/hash.h"
#include "crypto/padding.h"
#include "crypto/random.h"

namespace coffer {

namespace {

constexpr uint8_t kOpening = 1, kClosing = 2, kAcknowledgement = 4, kVouchedFor = 8;
constexpr uint8_t kOwnObject = 0, kCarried = 1;
constexpr uint8_t kPlainChanges = 0;
constexpr size_t kHeaderPlain = kRecordHeader - 4 - kSealOverhead;

Bytes record_data(const VolumeId& volume, Epoch epoch, const LogId& log, uint64_t number, std::string_view part) {
  return associated_data(Sealed::kRecord, volume, epoch, log.view(), number, as_bytes(part));
}

Hash digest(const VolumeId& volume, const LogId& log, uint64_t number, BytesView unsigned_body) {
  Bytes place;
  Writer w(place);
  w.raw(as_bytes("coffer record"));
  w.u8(0);
  w.id(volume);
  w.id(log);
  w.u64(number);
  return Hasher().update(place).update(unsigned_body).finish();
}

Bytes encode_body(const Record& record, BytesView carried) {
  Bytes body;
  Writer w(body);
  w.u16(kRecordVersion);
  w.u64(record.stamp);
  w.id(record.previous);
  w.u64(static_cast<uint64_t>(record.when.ns));
  const bool vouched_for = record.opening && !record.opening->certificate.vouchers.empty();
  w.u8(static_cast<uint8_t>((record.opening ? kOpening : 0) | (record.closing ? kClosing : 0) |
                            (record.acknowledgement ? kAcknowledgement : 0) | (vouched_for ? kVouchedFor : 0)));
  if (record.opening) {
    record.opening->certificate.encode(w);
    if (vouched_for) record.opening->certificate.encode_vouchers(w);
    w.string(record.opening->device_name);
    LogHead before = record.opening->predecessor.value_or(LogHead{});
    w.id(before.log);
    w.u64(before.number);
    w.id(before.hash);
  }
  w.varint(record.heads.size());
  for (const LogHead& head : record.heads) {
    w.id(head.log);
    w.varint(head.number);
    w.id(head.hash);
  }
  w.varint(record.packs.size());
  for (const RecordPack& pack : record.packs) {
    w.id(pack.id);
    w.u8(pack.carried ? kCarried : kOwnObject);
    if (pack.carried) {
      w.varint(pack.at);
      w.varint(pack.first);
      w.varint(pack.length);
    } else {
      w.varint(pack.size);
    }
  }
  if (!carried.empty()) w.id(blake2b(carried));
  w.u8(kPlainChanges);
  model::encode(record.changes, w);
  return body;
}

std::unexpected<Error> bad(std::string what) { return fail(Code::kCorrupt, "the record " + std::move(what)); }

Result<Record> decode_body(BytesView unsigned_body, BytesView carried) {
  Reader in(unsigned_body);
  if (uint16_t version = in.u16(); in.ok() && version != kRecordVersion)
    return fail(Code::kTooNew, "the record has version " + std::to_string(version) + ": written by a later coffer");
  Record record;
  record.stamp = in.u64();
  record.previous = in.id<Hash>();
  record.when.ns = static_cast<int64_t>(in.u64());
  uint8_t flags = in.u8();
  if (!in.ok() || flags > (kOpening | kClosing | kAcknowledgement | kVouchedFor) ||
      (flags & (kOpening | kVouchedFor)) == kVouchedFor)
    return bad("has flags that make no sense");
  record.closing = flags & kClosing;
  record.acknowledgement = flags & kAcknowledgement;
  if (flags & kOpening) {
    RecordOpening opening;
    opening.certificate = DeviceCertificate::decode(in);
    if (flags & kVouchedFor) opening.certificate.decode_vouchers(in);
    opening.device_name = in.string();
    LogHead before;
    before.log = in.id<LogId>();
    before.number = in.u64();
    before.hash = in.id<Hash>();
    if (!in.ok() || !valid_device_name(opening.device_name)) return bad("does not say who opens the log");
    if (before != LogHead{}) {
      if (before.number == 0) return bad("names a record 0");
      opening.predecessor = before;
    }
    record.opening = std::move(opening);
  }
  record.heads.resize(in.count(LogId::kSize + 1 + Hash::kSize));
  for (LogHead& head : record.heads) {
    head.log = in.id<LogId>();
    head.number = in.varint();
    head.hash = in.id<Hash>();
    if (head.number == 0) in.fail();
  }
  auto not_rising = [](const LogHead& a, const LogHead& b) { return !(a.log < b.log); };
  if (!in.ok() || std::adjacent_find(record.heads.begin(), record.heads.end(), not_rising) != record.heads.end())
    return bad("quotes heads in a way that makes no sense");
  record.packs.resize(in.count(ObjectId::kSize + 2));
  for (RecordPack& pack : record.packs) {
    pack.id = in.id<ObjectId>();
    uint8_t where = in.u8();
    if (where > kCarried) in.fail();
    pack.carried = where == kCarried;
    if (pack.carried) {
      pack.at = in.varint();
      pack.first = in.varint();
      pack.length = in.varint();
      if (pack.at > carried.size() || pack.length > carried.size() - pack.at || pack.first > UINT32_MAX) in.fail();
    } else {
      pack.size = in.varint();
      if (pack.size > UINT32_MAX) in.fail();
    }
  }
  if (!in.ok()) return bad("lists packs in a way that makes no sense");
  if (!carried.empty() && in.id<Hash>() != blake2b(carried)) return bad("carries other bytes than were signed");
  if (uint8_t method = in.u8(); in.ok() && method != kPlainChanges)
    return fail(Code::kTooNew,
                "the record stores its changes by method " + std::to_string(method) + ": written by a later coffer");
  TRY(record.changes, model::decode_change_set(in));
  if (!in.at_end()) return bad("does not end where it should");
  return record;
}

}  // namespace

bool valid_device_name(std::string_view name) {
  if (name.empty() || name.size() > kDeviceNameMax) return false;
  return std::none_of(name.begin(), name.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '/'; });
}

Result<SealedRecord> seal_record(const Record& record, BytesView carried, const VolumeId& volume, const LogId& log,
                                 uint64_t number, const EpochKeys& keys, const SigningKey& device) {
  Bytes body = encode_body(record, carried);
  Signature signature = device.sign(digest(volume, log, number, body).view());
  Writer(body).id(signature);
  size_t total = kRecordHeader + body.size() + kSealOverhead + carried.size();
  if (padded_size(total) > kRecordMax) return fail(Code::kTooLarge, "a record of " + std::to_string(total) + " bytes");

  SealedRecord out;
  out.hash = blake2b(body);
  out.carried_at = total - carried.size();
  Bytes header;
  Writer h(header);
  h.u16(kRecordVersion);
  h.u32(static_cast<uint32_t>(body.size()));
  h.u32(static_cast<uint32_t>(carried.size()));
  Writer w(out.object);
  w.u32(keys.epoch());
  w.raw(keys.records().seal(record_data(volume, keys.epoch(), log, number, "h"), header));
  out.object.reserve(padded_size(total));
  w.raw(keys.records().seal(record_data(volume, keys.epoch(), log, number, "b"), body));
  w.raw(carried);
  out.object.resize(padded_size(total));
  random_bytes(MutableBytes(out.object).subspan(total));
  return out;
}

bool OpenedRecord::signed_by(const PublicKey& device) const { return verify(device, signed_digest.view(), signature); }

Result<OpenedRecord> open_record(BytesView object, const VolumeId& volume, const LogId& log, uint64_t number,
                                 const KeysOfEpoch& keys_of) {
  auto not_whole = [] { return fail(Code::kUnavailable, "the record is not wholly there yet"); };
  if (object.size() < kRecordHeader) return not_whole();
  Reader in(object);
  Epoch epoch = in.u32();
  const EpochKeys* keys = keys_of(epoch);
  if (!keys) {
    return fail(Code::kDenied, "the record is sealed with the keys of epoch " + std::to_string(epoch) +
                                   ", which this device does not have, or is damaged");
  }
  auto header =
      keys->records().open(record_data(volume, epoch, log, number, "h"), in.raw(kHeaderPlain + kSealOverhead));
  if (!header) return bad("does not open: damaged, replaced, or moved here from another place");
  Reader h(*header);
  if (uint16_t version = h.u16(); version != kRecordVersion)
    return fail(Code::kTooNew, "the record has version " + std::to_string(version) + ": written by a later coffer");
  uint64_t body_size = h.u32(), carried_size = h.u32();
  uint64_t total = kRecordHeader + body_size + kSealOverhead + carried_size;
  if (object.size() < padded_size(total)) return not_whole();
  if (object.size() > padded_size(total)) return bad("is longer than it says");

  OpenedRecord out;
  out.log = log;
  out.number = number;
  auto body = keys->records().open(record_data(volume, epoch, log, number, "b"), in.raw(body_size + kSealOverhead));
  if (!body || body->size() < Signature::kSize) return bad("has a body that does not open: damaged or replaced");
  out.carried_at = total - carried_size;
  out.hash = blake2b(*body);
  BytesView unsigned_body = BytesView(*body).first(body->size() - Signature::kSize);
  out.signature = Signature::from(BytesView(*body).last(Signature::kSize));
  out.signed_digest = digest(volume, log, number, unsigned_body);
  TRY(out.record, decode_body(unsigned_body, in.raw(carried_size)));
  if ((number == 1) != out.record.opening.has_value())
    return bad(number == 1 ? "is the first of its log and does not open it" : "opens a log in its middle");
  return out;
}

}  // namespace coffer
