#include "cache/journal_block.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>
#include <utility>

#include "crypto/associated_data.h"
#include "crypto/hash.h"

namespace coffer {
namespace {

constexpr std::string_view kMagic = "coffjrnl";
constexpr uint16_t kVersion = 1;
constexpr size_t kNonceSize = 24;
constexpr size_t kTagSize = kSealOverhead - kNonceSize;
constexpr size_t kFixedFields = 8 + 8 + 4;  // first lsn, durable lsn, count
constexpr size_t kFieldsAt = kBlockHead + kNonceSize;
constexpr size_t kEntriesAt = kFieldsAt + kFixedFields;

size_t rounded(size_t n) { return (n + kJournalGrain - 1) / kJournalGrain * kJournalGrain; }

Bytes block_ad(const VolumeId& volume, const ObjectId& file, uint64_t offset) {
  return associated_data(Sealed::kJournalBlock, volume, /*epoch=*/0, file.view(), offset);
}

uint32_t block_check(const ObjectId& file, uint64_t offset, uint32_t length) {
  Bytes text;
  Writer w(text);
  w.id(file);
  w.u64(offset);
  w.u32(length);
  Hash hash = blake2b(text);
  return Reader(hash.view()).u32();
}

// Puts `fields` over the bytes at `at`.
void overwrite(Bytes& bytes, size_t at, const Bytes& fields) {
  std::memcpy(bytes.data() + at, fields.data(), fields.size());
}

}  // namespace

Bytes encode_journal_header(const JournalHeader& header) {
  Bytes out;
  Writer w(out);
  w.raw(as_bytes(kMagic));
  w.u16(kVersion);
  w.id(header.id);
  w.u64(header.first);
  out.resize(kJournalGrain);
  return out;
}

Result<std::optional<JournalHeader>> decode_journal_header(BytesView bytes) {
  Reader r(bytes);
  BytesView magic = r.raw(kMagic.size());
  uint16_t version = r.u16();
  JournalHeader header;
  header.id = r.id<ObjectId>();
  header.first = r.u64();
  if (!r.ok() || as_string(magic) != kMagic || version == 0) return std::nullopt;
  if (version > kVersion) return fail(Code::kTooNew, "journal version " + std::to_string(version));
  return header;
}

JournalBlock::JournalBlock(Lsn first, size_t payload_expected) : first_(first) {
  bytes_.reserve(rounded(kEntriesAt + payload_expected + kTagSize));
  bytes_.resize(kEntriesAt);
}

void JournalBlock::add(std::span<const BytesView> payload) {
  assert(!sealed_);
  size_t before = bytes_.size(), size = 0;
  for (BytesView part : payload) size += part.size();
  Writer w(bytes_);
  w.varint(size);
  for (BytesView part : payload) w.raw(part);
  payload_ += bytes_.size() - before;
  ++count_;
}

size_t JournalBlock::disk_size() const { return rounded(kEntriesAt + payload_ + kTagSize); }

void JournalBlock::seal(const AeadKey& key, const VolumeId& volume, const ObjectId& file, uint64_t offset,
                        Lsn durable) {
  assert(!sealed_);
  Bytes fields;
  Writer w(fields);
  w.u64(first_);
  w.u64(durable);
  w.u32(count_);
  overwrite(bytes_, kFieldsAt, fields);

  const uint32_t length = static_cast<uint32_t>(kNonceSize + kFixedFields + payload_ + kTagSize);
  fields.clear();
  w.u32(length);
  w.u32(block_check(file, offset, length));
  overwrite(bytes_, 0, fields);

  bytes_.resize(disk_size());
  key.seal_in_place(block_ad(volume, file, offset), MutableBytes(bytes_).subspan(kBlockHead, length));
  sealed_ = true;
}

std::optional<uint32_t> block_length(BytesView head, const ObjectId& file, uint64_t offset) {
  Reader r(head);
  uint32_t length = r.u32();
  uint32_t check = r.u32();
  if (!r.ok() || length < kSealOverhead + kFixedFields || check != block_check(file, offset, length))
    return std::nullopt;
  return length;
}

std::optional<OpenedBlock> open_block(BytesView sealed, const AeadKey& key, const VolumeId& volume,
                                      const ObjectId& file, uint64_t offset) {
  auto plain = key.open(block_ad(volume, file, offset), sealed);
  if (!plain) return std::nullopt;
  OpenedBlock block;
  block.plain = std::move(*plain);
  block.disk_size = rounded(kBlockHead + sealed.size());
  Reader r(block.plain);
  block.first = r.u64();
  block.durable = r.u64();
  uint32_t count = r.u32();
  if (!r.ok() || block.first == 0 || count == 0 || count > r.remaining()) return std::nullopt;
  block.entries.reserve(count);
  for (uint32_t i = 0; i < count; ++i) block.entries.push_back(r.bytes());
  if (!r.at_end()) return std::nullopt;
  return block;
}

}  // namespace coffer
