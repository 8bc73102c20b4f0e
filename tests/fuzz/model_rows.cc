// The values of the model's rows, and their keys: from the local disk, sealed, or kept by another version.
#include "fs/model/history.h"
#include "fs/model/keys.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

using namespace model;

template <typename T>
void comes_back(const Result<T>& value, Result<T> (*decode)(BytesView)) {
  if (!value) return;
  auto again = decode(encode(*value));
  require(again && *again == *value, "a row comes back");
}

}  // namespace

// which u8 | bytes
void run(BytesView input) {
  Input in(input);
  uint8_t which = in.byte();
  BytesView bytes = in.rest();
  switch (which) {
    case 0:
      return comes_back(decode_inode(bytes), decode_inode);
    case 1:
      return comes_back(decode_entry(bytes), decode_entry);
    case 2:
      return comes_back(decode_extents(bytes), decode_extents);
    case 3:
      return comes_back(decode_xattrs(bytes), decode_xattrs);
    case 4:
      return comes_back(decode_tombstone(bytes), decode_tombstone);
    case 5:
      return comes_back(decode_displaced(bytes), decode_displaced);
    case 6:
      return comes_back(decode_bitmap(bytes), decode_bitmap);
    case 7:
      return comes_back(decode_history(bytes), decode_history);
    case 8:
      if (auto n = decode_number(bytes)) require(encode_number(*n) == to_bytes(bytes), "a number has one form");
      return;
    default:
      break;
  }
  std::string_view key = as_string(bytes);
  (void)kind_of(key);
  if (auto place = parse_entry_key(key))
    require(entry_key(place->dir, place->cookie).bytes == key, "an entry's key has one form");
  (void)parse_link_key(key);
  if (auto chunk = parse_chunk_key(key))
    require(chunk_key(chunk->ino, chunk->chunk).bytes == key, "a chunk's key has one form");
  if (auto version = parse_displaced_key(key))
    require(displaced_key(version->ino, version->version).bytes == key, "a version's key has one form");
  for (char kind : std::string_view("IECXTVAH")) (void)parse_first(static_cast<RowKind>(kind), key);
}

}  // namespace coffer::fuzz
