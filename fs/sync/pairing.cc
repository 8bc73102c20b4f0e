#include "fs/sync/pairing.h"

#include <algorithm>

#include "crypto/kept_key.h"
#include "fs/sync/object_keys.h"

namespace coffer {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kHeadMost = LogId::kSize + 8 + Hash::kSize + 10 + kDeviceNameMax;

bool of_the_last_day(WallTime made, WallTime now) {
  // Either clock may be wrong; so is one that is ahead by a day.
  return made.ns > now.ns - kPairingTime.count() && made.ns < now.ns + kPairingTime.count();
}

}  // namespace

Secret encode(const HandedOver& handed_over) {
  const Secret keys = encode_kept_key(handed_over.secrets);
  Bytes plain;
  plain.reserve(1024 + keys.size() + 128 * (1 + kMaxVouchers) + handed_over.by.size() +
                handed_over.heads.size() *
                    kHeadMost);  // one piece of memory to wipe: growing would leave copies behind
  Writer w(plain);
  w.u8(kVersion);
  w.bytes(keys.view());
  handed_over.certificate.encode(w);
  handed_over.certificate.encode_vouchers(w);
  w.string(handed_over.by);
  encode_heads(w, handed_over.heads);
  Secret out{BytesView(plain)};
  wipe(plain);
  return out;
}

Result<HandedOver> decode_handed_over(BytesView contents) {
  Reader r(contents);
  if (uint8_t version = r.u8(); version > kVersion)
    return fail(Code::kTooNew, "what was handed over is of a later version of coffer");
  HandedOver out;
  const BytesView keys = r.bytes();
  out.certificate = DeviceCertificate::decode(r);
  out.certificate.decode_vouchers(r);
  out.by = r.string();
  out.heads = decode_heads(r);
  if (!r.at_end() || !valid_device_name(out.by)) return fail(Code::kCorrupt, "what was handed over makes no sense");
  TRY(out.secrets, decode_kept_key(keys));
  if (!out.certificate.valid(out.secrets.signing_public, out.secrets.volume))
    return fail(Code::kCorrupt, "the certificate that was handed over does not verify");
  return out;
}

Result<DeviceId> let_in(ObjectStore& store, const PairingCode& code, const VolumeSecrets& secrets,
                        const DeviceIdentity& identity, std::vector<KnownHead> heads) {
  TRY(std::vector<ObjectInfo> found, store.list(kPairPrefix));
  for (const ObjectInfo& info : found) {
    auto name = parse_pair_key(info.key);
    if (!name || name->answer || info.size != kPairingRequestSize) continue;
    auto object = store.get(info.key, kPairingRequestSize);
    if (!object && object.error().retryable()) return fail(object.error());
    if (!object || !code.fits(*object)) continue;
    TRY(PairingRequest request, decode_pairing_request(*object));
    if (request.volume != secrets.volume || request.id != name->request)
      return fail(Code::kNotFound, "the request that fits the code is of another volume");
    const std::string answer_key = pair_answer_key(request.id);
    if (std::ranges::any_of(found, [&](const ObjectInfo& other) { return other.key == answer_key; }))
      return fail(Code::kExists, "the request that fits the code has been answered");

    HandedOver handed_over;
    TRY(handed_over.certificate, DeviceCertificate::vouch(identity.certificate, identity.key, secrets.volume,
                                                          request.signing, secrets.epoch_keys.rbegin()->first));
    handed_over.secrets = secrets.clone_without_signing();
    handed_over.by = identity.name;
    handed_over.heads = std::move(heads);
    TRY(Bytes answer, seal_pairing_answer(*object, code, encode(handed_over)));
    TRYV(store.put(answer_key, answer));
    return handed_over.certificate.device;
  }
  return fail(Code::kNotFound, "no request in the store fits this code");
}

Result<size_t> sweep_pairing(ObjectStore& store, WallTime now) {
  TRY(std::vector<ObjectInfo> found, store.list(kPairPrefix));
  std::vector<ObjectId> current;
  std::vector<std::string> gone;
  for (const ObjectInfo& info : found) {
    auto name = parse_pair_key(info.key);
    if (!name || name->answer) continue;  // what has another name is somebody else's
    auto object = store.get(info.key, kPairingRequestSize);
    if (!object && object.error().retryable()) return fail(object.error());
    auto request = object ? decode_pairing_request(*object) : Result<PairingRequest>(fail(object.error()));
    const bool later_coffer = !request && request.error().code() == Code::kTooNew;
    if (later_coffer || (request && request->id == name->request && of_the_last_day(request->made, now)))
      current.push_back(name->request);
    else
      gone.push_back(info.key);
  }
  for (const ObjectInfo& info : found)
    if (auto name = parse_pair_key(info.key); name && name->answer && !std::ranges::count(current, name->request))
      gone.push_back(info.key);
  for (const std::string& key : gone) TRYV(store.remove(key));
  return gone.size();
}

}  // namespace coffer
