#include "fs/sync/revocation.h"

#include <algorithm>

#include "crypto/random.h"

namespace coffer {
namespace {

constexpr std::string_view kMagic = "coffrevo";
constexpr std::string_view kText{"coffer revocation\0", 18};
constexpr uint16_t kVersion = 1;
constexpr uint8_t kRowVersion = 1;

template <typename Heads, typename Devices>
void encode_limits(Writer& w, const Heads& accepted, const Devices& kept) {
  w.varint(accepted.size());
  for (const LogHead& head : accepted) {
    w.id(head.log);
    w.u64(head.number);
    w.id(head.hash);
  }
  w.varint(kept.size());
  for (const DeviceId& device : kept) w.id(device);
}

void decode_limits(Reader& r, std::vector<LogHead>& accepted, std::vector<DeviceId>& kept) {
  accepted.resize(r.count(LogId::kSize + 8 + Hash::kSize));
  for (LogHead& head : accepted) {
    head.log = r.id<LogId>();
    head.number = r.u64();
    head.hash = r.id<Hash>();
    if (head.number == 0) r.fail();
  }
  kept.resize(r.count(DeviceId::kSize));
  for (DeviceId& device : kept) device = r.id<DeviceId>();
  auto log_not_rising = [](const LogHead& a, const LogHead& b) { return !(a.log < b.log); };
  if (std::ranges::adjacent_find(accepted, log_not_rising) != accepted.end() ||
      std::ranges::adjacent_find(kept, std::ranges::greater_equal()) != kept.end())
    r.fail();
}

}  // namespace

Result<Bytes> make_revocation(Revocation revocation, const VolumeId& volume, const SigningKey& volume_signing) {
  std::ranges::sort(revocation.accepted, {}, &LogHead::log);
  std::ranges::sort(revocation.kept);
  Bytes object;
  Writer w(object);
  w.raw(as_bytes(kMagic));
  w.u16(kVersion);
  w.id(random_id<ObjectId>());
  w.id(revocation.device);
  w.u64(static_cast<uint64_t>(revocation.made.ns));
  encode_limits(w, revocation.accepted, revocation.kept);
  w.id(volume_signing.sign(volume_message(kText, volume, object)));
  if (object.size() > kMaxRevocationSize) return fail(Code::kTooLarge, "the device has too many logs");
  return object;
}

bool is_revocation(BytesView object) { return as_string(object).starts_with(kMagic); }

Result<Revocation> verify_revocation(BytesView object, const VolumeId& volume, const PublicKey& signing_public) {
  auto corrupt = [] { return fail(Code::kCorrupt, "revocation: not made by a member of the volume, or damaged"); };
  Reader r(object);
  if (!is_revocation(object) || object.size() > kMaxRevocationSize || object.size() < kMagic.size() + Signature::kSize)
    return corrupt();
  r.raw(kMagic.size());
  const uint16_t version = r.u16();
  if (r.ok() && version > kVersion) return fail(Code::kTooNew, "revocation: made by a later version of coffer");
  Revocation out;
  out.id = r.id<ObjectId>();
  out.device = r.id<DeviceId>();
  out.made.ns = static_cast<int64_t>(r.u64());
  decode_limits(r, out.accepted, out.kept);
  const Signature signature = r.id<Signature>();
  if (!r.at_end() || version == 0) return corrupt();
  if (!verify(signing_public, volume_message(kText, volume, object.first(object.size() - Signature::kSize)), signature))
    return corrupt();
  return out;
}

Revocations::Revocations(const Revocations& other) {
  MutexLock lock(other.mutex_);
  devices_ = other.devices_;
}

Revocations& Revocations::operator=(const Revocations& other) {
  if (this == &other) return *this;
  std::map<DeviceId, Limits> devices;
  {
    MutexLock lock(other.mutex_);
    devices = other.devices_;
  }
  MutexLock lock(mutex_);
  devices_ = std::move(devices);
  return *this;
}

void Revocations::add(const Revocation& revocation) {
  MutexLock lock(mutex_);
  Limits& limits = devices_[revocation.device];
  for (const LogHead& head : revocation.accepted) {
    LogHead& known = limits.accepted[head.log];
    if (std::pair(known.number, known.hash) < std::pair(head.number, head.hash)) known = head;
  }
  limits.kept.insert(revocation.kept.begin(), revocation.kept.end());
}

void Revocations::add_all(const std::vector<Bytes>& objects, const VolumeId& volume, const PublicKey& signing_public) {
  for (const Bytes& object : objects)
    if (is_revocation(object))
      if (auto revocation = verify_revocation(object, volume, signing_public)) add(*revocation);
}

bool Revocations::empty() const {
  MutexLock lock(mutex_);
  return devices_.empty();
}

bool Revocations::revoked(const DeviceId& device, const std::vector<DeviceId>& vouchers) const {
  MutexLock lock(mutex_);
  return devices_.contains(device) || revoked_by_voucher(device, vouchers);
}

bool Revocations::revoked(const DeviceCertificate& certificate) const {
  return revoked(certificate.device, certificate.voucher_ids());
}

bool Revocations::revoked_by_voucher(const DeviceId& device, const std::vector<DeviceId>& vouchers) const {
  for (const DeviceId& voucher : vouchers) {  // no lambda: the thread-safety analysis does not follow the lock into it
    auto it = devices_.find(voucher);
    if (it != devices_.end() && !it->second.kept.contains(device)) return true;
  }
  return false;
}

const LogHead* Revocations::last_head(const LogTail& log) const {
  auto device = devices_.find(log.device);
  if (device == devices_.end() || revoked_by_voucher(log.device, log.vouchers)) return nullptr;
  auto accepted = device->second.accepted.find(log.log);
  return accepted == device->second.accepted.end() ? nullptr : &accepted->second;
}

uint64_t Revocations::last_valid(const LogTail& log) const {
  if (!revoked(log)) return UINT64_MAX;
  MutexLock lock(mutex_);
  const LogHead* last = last_head(log);
  return last == nullptr ? 0 : last->number;
}

bool Revocations::is_void(const LogTail& log, uint64_t number, const Hash& hash) const {
  if (!revoked(log)) return false;
  MutexLock lock(mutex_);
  const LogHead* last = last_head(log);
  return last == nullptr || number > last->number || (number == last->number && hash != last->hash);
}

bool Revocations::same_for(const Revocations& other, const std::vector<LogTail>& logs) const {
  return std::ranges::all_of(logs, [&](const LogTail& log) {
    return std::min(last_valid(log), log.number) == std::min(other.last_valid(log), log.number);
  });
}

void strip(Record& record) {
  record.changes = {};
  record.packs.clear();
}

RowKey Revocations::row_key() { return clear_key("Sv"); }

Bytes Revocations::encode() const {
  MutexLock lock(mutex_);
  Bytes out;
  Writer w(out);
  w.u8(kRowVersion);
  w.varint(devices_.size());
  for (const auto& [device, limits] : devices_) {
    w.id(device);
    std::vector<LogHead> accepted;
    for (const auto& [log, head] : limits.accepted) accepted.push_back(head);
    encode_limits(w, accepted, limits.kept);
  }
  return out;
}

Result<Revocations> Revocations::decode(BytesView row) {
  Reader r(row);
  if (r.u8() > kRowVersion) return fail(Code::kTooNew, "the row of revocations was written by a later coffer");
  const size_t count = r.count(DeviceId::kSize + 2);
  Revocations out;
  for (size_t i = 0; i < count && r.ok(); ++i) {
    Revocation one;
    one.device = r.id<DeviceId>();
    decode_limits(r, one.accepted, one.kept);
    out.add(one);
  }
  if (!r.at_end()) return fail(Code::kCorrupt, "the row of revocations is damaged");
  return out;
}

}  // namespace coffer
