// How a row looks on disk (laid out in cache/table.h). Internal to this layer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rows.h"
#include "cache/table.h"
#include "crypto/keys.h"

namespace coffer {

// Aborts when the stored key would be longer than kMaxStoredKey.
void check_key_size(const RowKey& key);

// The key under which LMDB has a row. A value without allocation: reads make one each.
class StoredKey {
 public:
  // Aborts as check_key_size() does.
  StoredKey(const LocalKeys& keys, const RowKey& key);
  BytesView view() const { return {bytes_.data(), size_}; }

 private:
  std::array<uint8_t, kMaxStoredKey> bytes_;
  size_t size_;
};

// The size of the sealed form of a row.
size_t sealed_row_size(size_t key, size_t value);
// `out` has that size.
void seal_row(const LocalKeys& keys, const VolumeId& volume, BytesView stored_key, std::string_view logical_key,
              BytesView value, MutableBytes out);

// The parts of an opened row; they point into `plain`.
struct OpenedRow {
  std::string_view key;
  BytesView value;
};
// `plain` is the caller's room for the plaintext. kCorrupt.
Result<OpenedRow> open_row(const LocalKeys& keys, const VolumeId& volume, BytesView stored_key, BytesView sealed,
                           Bytes& plain);

}  // namespace coffer
