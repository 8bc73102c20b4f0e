#include "cache/row_codec.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "crypto/associated_data.h"

namespace coffer {
namespace {

constexpr size_t kNonceSize = 24;
constexpr size_t kGrain = 32;  // plaintexts are padded to a multiple of this
constexpr size_t kHiddenSize = 16;

size_t varint_size(uint64_t v) {
  size_t n = 1;
  for (; v >= 0x80; v >>= 7) ++n;
  return n;
}

uint8_t* put_prefixed(uint8_t* at, BytesView bytes) {
  uint64_t v = bytes.size();
  for (; v >= 0x80; v >>= 7) *at++ = static_cast<uint8_t>(v) | 0x80;
  *at++ = static_cast<uint8_t>(v);
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

Bytes row_ad(const VolumeId& volume, BytesView stored_key) {
  return associated_data(Sealed::kRow, volume, /*epoch=*/0, ObjectId{}.view(), 0, stored_key);
}

}  // namespace

void check_key_size(const RowKey& key) {
  const size_t size = key.all_clear() ? key.clear : key.clear + kHiddenSize;
  if (size > 0 && size <= kMaxStoredKey && key.clear <= key.bytes.size()) [[likely]]
    return;
  log_line(LogLevel::kError, "a row key has an impossible size");
  std::abort();
}

StoredKey::StoredKey(const LocalKeys& keys, const RowKey& key) : size_(key.clear) {
  check_key_size(key);
  std::memcpy(bytes_.data(), key.bytes.data(), key.clear);
  if (key.all_clear()) return;
  std::array<uint8_t, kHiddenSize> hidden = keys.row_keys()(as_bytes(key.bytes));
  std::memcpy(bytes_.data() + key.clear, hidden.data(), kHiddenSize);
  size_ += kHiddenSize;
}

size_t sealed_row_size(size_t key, size_t value) {
  size_t plain = varint_size(key) + key + varint_size(value) + value;
  return (plain + kGrain - 1) / kGrain * kGrain + kSealOverhead;
}

void seal_row(const LocalKeys& keys, const VolumeId& volume, BytesView stored_key, std::string_view logical_key,
              BytesView value, MutableBytes out) {
  uint8_t* at = put_prefixed(put_prefixed(out.data() + kNonceSize, as_bytes(logical_key)), value);
  std::fill(at, out.data() + out.size() - (kSealOverhead - kNonceSize), 0);
  keys.rows().seal_in_place(row_ad(volume, stored_key), out);
}

Result<OpenedRow> open_row(const LocalKeys& keys, const VolumeId& volume, BytesView stored_key, BytesView sealed,
                           Bytes& plain) {
  if (sealed.size() < kSealOverhead) return fail(Code::kCorrupt, "table: a row is too short");
  plain.resize(sealed.size() - kSealOverhead);
  if (!keys.rows().open(row_ad(volume, stored_key), sealed, plain))
    return fail(Code::kCorrupt, "table: a row does not open");
  Reader r(plain);
  OpenedRow row;
  row.key = as_string(r.bytes());
  row.value = r.bytes();
  if (!r.ok()) return fail(Code::kCorrupt, "table: a row makes no sense");
  return row;
}

}  // namespace coffer
