#include "crypto/pairing.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/aead.h"
#include "crypto/associated_data.h"
#include "crypto/hash.h"
#include "crypto/padding.h"
#include "crypto/random.h"
#include "crypto/require.h"
#include "crypto/typed_groups.h"
#include "crypto/wrapping.h"

namespace coffer {
namespace {

constexpr std::string_view kRequestMagic = "coffpair", kAnswerMagic = "coffpans";
constexpr uint16_t kVersion = 1;
constexpr size_t kAnswerHeader = 8 + 2 + 16 + 32 + 32;
constexpr size_t kHalf = 10;  // bytes of the fingerprint, and of the code's secret

constexpr std::string_view kFingerprintText{"coffer pairing request\0", 23};
constexpr std::string_view kWrappingText = "coffer pairing answer";
constexpr std::string_view kCommitmentText = "coffer pairing commitment";

using internal::Commitment;

Hash request_hash(BytesView request) { return Hasher().update(as_bytes(kFingerprintText)).update(request).finish(); }

// Of either side, with the code.
std::optional<Secret> wrapping_key(const Secret& mine, const PublicKey& theirs, const PublicKey& ephemeral,
                                   BytesView request, const PairingCode& code) {
  return internal::wrapping_key(mine, theirs,
                                {as_bytes(kWrappingText), code.secret(), blake2b(request).view(), ephemeral.view()});
}

Bytes answer_data(const VolumeId& volume, const ObjectId& id, BytesView header) {
  return associated_data(Sealed::kPairingAnswer, volume, 0, id.view(), 0, header);
}

std::unexpected<Error> refused() {
  return fail(Code::kCorrupt, "the answer does not open: it is not by somebody who has this code, or damaged");
}

}  // namespace

Bytes encode(const PairingRequest& request) {
  Bytes out;
  Writer w(out);
  w.raw(as_bytes(kRequestMagic));
  w.u16(kVersion);
  w.id(request.id);
  w.id(request.volume);
  w.id(request.sealing);
  w.id(request.signing);
  w.u64(static_cast<uint64_t>(request.made.ns));
  internal::require(out.size() == kPairingRequestSize, "pairing request of the wrong size");
  return out;
}

Result<PairingRequest> decode_pairing_request(BytesView object) {
  Reader r(object);
  if (as_string(r.raw(kRequestMagic.size())) != kRequestMagic)
    return fail(Code::kCorrupt, "not a request to be let in");
  if (uint16_t version = r.u16(); r.ok() && version > kVersion)
    return fail(Code::kTooNew, "a request to be let in, by a later version of coffer");
  PairingRequest request;
  request.id = r.id<ObjectId>();
  request.volume = r.id<VolumeId>();
  request.sealing = r.id<PublicKey>();
  request.signing = r.id<PublicKey>();
  request.made.ns = static_cast<int64_t>(r.u64());
  if (!r.at_end()) return fail(Code::kCorrupt, "not a whole request to be let in");
  return request;
}

PairingCode PairingCode::make(BytesView request) {
  Secret bits = Secret::random(2 * kHalf);
  std::ranges::copy(request_hash(request).view().first(kHalf), bits.data().begin());
  return PairingCode(std::move(bits));
}

Result<PairingCode> PairingCode::parse(std::string_view text) {
  Secret bits(2 * kHalf);
  TRYV(internal::parse_groups(text, "code", bits.data()));
  return PairingCode(std::move(bits));
}

Secret PairingCode::text() const { return internal::groups_text(bits_.view()); }

bool PairingCode::fits(BytesView request) const {
  return std::ranges::equal(request_hash(request).view().first(kHalf), bits_.view().first(kHalf));
}

BytesView PairingCode::secret() const { return bits_.view().subspan(kHalf); }

Result<Bytes> seal_pairing_answer(BytesView object, const PairingCode& code, const Secret& contents) {
  TRY(PairingRequest request, decode_pairing_request(object));
  internal::require(code.fits(object), "an answer to a request that the code is not of");
  PublicKey ephemeral;
  Secret ephemeral_private(crypto_box_SECRETKEYBYTES);
  crypto_box_keypair(ephemeral.bytes.data(), ephemeral_private.data().data());
  auto wrapping = wrapping_key(ephemeral_private, request.sealing, ephemeral, object, code);
  if (!wrapping) return fail(Code::kCorrupt, "the request's public key is none");

  Bytes answer;
  Writer w(answer);
  w.raw(as_bytes(kAnswerMagic));
  w.u16(kVersion);
  w.id(request.id);
  w.id(ephemeral);
  w.id(internal::commit_to(*wrapping, kCommitmentText));
  const size_t total = padded_size(kAnswerHeader + kSealOverhead + 4 + contents.size());
  if (total > kMaxPairingAnswer) return fail(Code::kTooLarge, "there are too many keys and logs to hand over");
  Secret plain(total - kAnswerHeader - kSealOverhead);
  const uint32_t size = static_cast<uint32_t>(contents.size());
  for (size_t i = 0; i < 4; ++i) plain.data()[i] = static_cast<uint8_t>(size >> (8 * i));
  std::ranges::copy(contents.view(), plain.data().begin() + 4);
  const Bytes data = answer_data(request.volume, request.id, answer);
  answer.resize(total);
  AeadKey(std::move(*wrapping)).seal(data, plain.view(), MutableBytes(answer).subspan(kAnswerHeader));
  return answer;
}

PairingWait::PairingWait(const PairingRequest& request, Secret private_key, SigningKey signing, PairingCode code)
    : id_(request.id),
      volume_(request.volume),
      request_(encode(request)),
      private_key_(std::move(private_key)),
      signing_(std::move(signing)),
      code_(std::move(code)) {}

PairingWait PairingWait::begin(const VolumeId& volume, WallTime now) {
  PairingRequest request;
  request.id = random_id<ObjectId>();
  request.volume = volume;
  request.made = now;
  Secret private_key(crypto_box_SECRETKEYBYTES);
  crypto_box_keypair(request.sealing.bytes.data(), private_key.data().data());
  SigningKey signing = SigningKey::generate();
  request.signing = signing.public_key();
  PairingCode code = PairingCode::make(encode(request));
  return PairingWait(request, std::move(private_key), std::move(signing), std::move(code));
}

PairingWait PairingWait::from(const PairingRequest& request, Secret private_key, SigningKey signing, PairingCode code) {
  return PairingWait(request, std::move(private_key), std::move(signing), std::move(code));
}

Result<Secret> PairingWait::open(BytesView answer) const {
  Reader r(answer);
  if (as_string(r.raw(kAnswerMagic.size())) != kAnswerMagic) return refused();
  const uint16_t version = r.u16();
  if (r.ok() && version > kVersion) return fail(Code::kTooNew, "the answer was made by a later version of coffer");
  if (version == 0 || r.id<ObjectId>() != id_) return refused();
  const PublicKey ephemeral = r.id<PublicKey>();
  const Commitment commitment = r.id<Commitment>();
  if (!r.ok() || r.remaining() < kSealOverhead + 4 || answer.size() > kMaxPairingAnswer) return refused();
  auto wrapping = wrapping_key(private_key_, ephemeral, ephemeral, request_, code_);
  if (!wrapping || !internal::commits_to(commitment, *wrapping, kCommitmentText)) return refused();
  Secret plain(r.remaining() - kSealOverhead);
  if (!AeadKey(std::move(*wrapping))
           .open(answer_data(volume_, id_, answer.first(kAnswerHeader)), answer.subspan(kAnswerHeader), plain.data()))
    return refused();
  Reader p(plain.view());
  const uint32_t size = p.u32();
  BytesView contents = p.raw(size), padding = p.raw(p.remaining());
  if (!p.ok() || !std::ranges::all_of(padding, [](uint8_t b) { return b == 0; })) return refused();
  return Secret(contents);
}

}  // namespace coffer
