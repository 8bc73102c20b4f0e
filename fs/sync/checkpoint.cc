#include "fs/sync/checkpoint.h"

#include "crypto/associated_data.h"
#include "crypto/hash.h"
#include "crypto/padding.h"

namespace coffer {

namespace {

constexpr size_t kSegmentMin = ObjectId::kSize + 2 * Hash::kSize + 4;  // bytes of one in the list

Bytes checkpoint_data(const VolumeId& volume, Epoch epoch, const ObjectId& root) {
  return associated_data(Sealed::kCheckpoint, volume, epoch, root.view(), 0);
}

Hash digest(const VolumeId& volume, const ObjectId& root, BytesView unsigned_body) {
  Bytes place;
  Writer w(place);
  w.raw(as_bytes("coffer checkpoint"));
  w.u8(0);
  w.id(volume);
  w.id(root);
  return Hasher().update(place).update(unsigned_body).finish();
}

std::unexpected<Error> bad(std::string what) { return fail(Code::kCorrupt, "the checkpoint " + std::move(what)); }

Result<Checkpoint> decode_body(BytesView unsigned_body) {
  Reader in(unsigned_body);
  const uint16_t version = in.u16();
  if (in.ok() && (version == 0 || version > kCheckpointVersion))
    return fail(Code::kTooNew, "the checkpoint has version " + std::to_string(version) + ": written by a later coffer");
  Checkpoint out;
  out.stamp = in.u64();
  out.records = in.u64();
  out.when.ns = static_cast<int64_t>(in.u64());
  out.certificate = DeviceCertificate::decode(in);
  if (version == kCheckpointVersion) out.certificate.decode_vouchers(in);
  const uint64_t rows = in.u64();
  out.segments.resize(in.count(kSegmentMin));
  const SegmentInfo* before = nullptr;
  for (SegmentInfo& s : out.segments) {
    s.id = in.id<ObjectId>();
    s.sealed = in.id<Hash>();
    s.plain = in.id<Hash>();
    s.object_size = in.varint();
    s.plain_size = in.varint();
    s.rows = in.varint();
    s.first_key = in.string();
    if (s.plain_size > kSegmentPlainMax || s.object_size > 2 * kSegmentPlainMax || s.rows == 0 ||
        s.rows > s.plain_size || (before && s.first_key <= before->first_key))
      in.fail();
    if (!in.ok()) break;
    before = &s;
  }
  if (!in.at_end() || out.segments.empty() || out.records == 0 || out.stamp == 0 || rows != out.rows())
    return bad("lists segments in a way that makes no sense");
  return out;
}

}  // namespace

uint64_t Checkpoint::rows() const {
  uint64_t n = 0;
  for (const SegmentInfo& s : segments) n += s.rows;
  return n;
}

uint64_t Checkpoint::object_bytes() const {
  uint64_t n = 0;
  for (const SegmentInfo& s : segments) n += s.object_size;
  return n;
}

Result<Bytes> seal_checkpoint(const Checkpoint& checkpoint, const VolumeId& volume, const ObjectId& root,
                              const EpochKeys& keys, const SigningKey& device) {
  Bytes body;
  Writer w(body);
  const bool vouched_for = !checkpoint.certificate.vouchers.empty();
  w.u16(vouched_for ? kCheckpointVersion : kCheckpointVersion - 1);
  w.u64(checkpoint.stamp);
  w.u64(checkpoint.records);
  w.u64(static_cast<uint64_t>(checkpoint.when.ns));
  checkpoint.certificate.encode(w);
  if (vouched_for) checkpoint.certificate.encode_vouchers(w);
  w.u64(checkpoint.rows());
  w.varint(checkpoint.segments.size());
  for (const SegmentInfo& s : checkpoint.segments) {
    w.id(s.id);
    w.id(s.sealed);
    w.id(s.plain);
    w.varint(s.object_size);
    w.varint(s.plain_size);
    w.varint(s.rows);
    w.string(s.first_key);
  }
  w.id(device.sign(digest(volume, root, body).view()));
  const size_t total = padded_size(4 + 4 + body.size() + kSealOverhead);
  if (total > kCheckpointMax)
    return fail(Code::kTooLarge, "a checkpoint of " + std::to_string(checkpoint.segments.size()) + " segments");
  Bytes content;
  Writer c(content);
  c.u32(static_cast<uint32_t>(body.size()));
  c.raw(body);
  content.resize(total - 4 - kSealOverhead);
  Bytes object;
  Writer o(object);
  o.u32(keys.epoch());
  o.raw(keys.segments().seal(checkpoint_data(volume, keys.epoch(), root), content));
  return object;
}

Result<Checkpoint> open_checkpoint(BytesView object, const VolumeId& volume, const ObjectId& root,
                                   const KeysOfEpoch& keys_of, const PublicKey& volume_signing) {
  Reader in(object);
  Epoch epoch = in.u32();
  if (in.remaining() < kSealOverhead) return fail(Code::kUnavailable, "the checkpoint is not wholly there yet");
  const EpochKeys* keys = keys_of(epoch);
  if (!keys)
    return fail(Code::kDenied, "the checkpoint is sealed with the keys of epoch " + std::to_string(epoch) +
                                   ", which this device does not have, or is damaged");
  auto content = keys->segments().open(checkpoint_data(volume, epoch, root), in.raw(in.remaining()));
  if (!content) return bad("does not open: damaged, cut off, replaced, or moved here from another place");
  Reader c(*content);
  BytesView body = c.raw(c.u32());
  if (!c.ok() || body.size() < Signature::kSize || object.size() != padded_size(8 + body.size() + kSealOverhead))
    return bad("has lengths that make no sense");
  BytesView unsigned_body = body.first(body.size() - Signature::kSize);
  TRY(Checkpoint out, decode_body(unsigned_body));
  if (!out.certificate.valid(volume_signing, volume))
    return bad("is by no member of this volume: the certificate does not verify");
  if (!verify(out.certificate.key, digest(volume, root, unsigned_body).view(),
              Signature::from(body.last(Signature::kSize))))
    return bad("has a signature that does not verify");
  return out;
}

}  // namespace coffer
