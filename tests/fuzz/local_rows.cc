// The replica's and the synchronizer's own rows and files, as they are under their seals.
#include <algorithm>

#include "cache/row_codec.h"
#include "crypto/associated_data.h"
#include "fs/replica/bookkeeping.h"
#include "fs/sync/archive_rows.h"
#include "fs/sync/collection.h"
#include "fs/sync/kept_records.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/rewriting.h"
#include "fs/sync/volume.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const VolumeId kVolume;

template <typename T>
void is_stable(const Result<T>& value, Result<T> (*decode)(BytesView)) {
  if (!value) return;
  Bytes bytes = encode(*value);
  auto again = decode(bytes);
  require(again && encode(*again) == bytes, "a row comes back");
}

// A row of LMDB: from the plaintext under its seal.
void open_sealed_row(BytesView plain) {
  const Bytes key = to_bytes("I12345678");
  Bytes sealed = local_keys().rows().seal(associated_data(Sealed::kRow, kVolume, 0, ObjectId{}.view(), 0, key), plain);
  Bytes room;
  auto row = open_row(local_keys(), kVolume, key, sealed, room);
  if (!row) return;
  Bytes again(sealed_row_size(row->key.size(), row->value.size())), again_room;
  seal_row(local_keys(), kVolume, key, row->key, row->value, again);
  auto reopened = must(open_row(local_keys(), kVolume, key, again, again_room));
  require(reopened.key == row->key && std::ranges::equal(reopened.value, row->value), "a sealed row comes back");
}

}  // namespace

// which u8 | bytes
void run(BytesView input) {
  Input in(input);
  uint8_t which = in.byte();
  BytesView bytes = in.rest();
  switch (which) {
    case 0:
      return is_stable(decode_replica_state(bytes), decode_replica_state);
    case 1:
      return is_stable(decode_applied_record(bytes), decode_applied_record);
    case 2:
      return is_stable(decode_pack_place(bytes), decode_pack_place);
    case 3:
      return is_stable(decode_outgoing(bytes), decode_outgoing);
    case 4:
      if (auto tail = decode_tail(LogId{}, bytes))
        require(must(decode_tail(LogId{}, encode(*tail))) == *tail, "a log's tail comes back");
      return;
    case 5:
      return open_sealed_row(bytes);
    case 6: {
      Bytes sealed = local_keys().secrets().seal(
          associated_data(Sealed::kLocalSecret, kVolume, 0, ObjectId{}.view(), 0, as_bytes("identity")), bytes);
      (void)open_identity(sealed, kVolume, local_keys());
      return;
    }
    case 7:
      return is_stable(decode_dead_object(bytes), decode_dead_object);
    case 8:
      return is_stable(decode_collection(bytes), decode_collection);
    case 9:
      if (auto id = parse_dead_object_key(as_string(bytes)))
        require(std::ranges::equal(as_bytes(dead_object_key(*id).bytes), bytes), "a dead object has one key");
      return;
    case 10:
      return is_stable(decode_kept_record(bytes), decode_kept_record);
    case 11:
      return is_stable(decode_rewriting(bytes), decode_rewriting);
    case 12:
      if (auto since = decode_archive_seen(bytes))
        require(must(decode_archive_seen(encode_archive_seen(*since))) == *since,
                "since when an archive was seen comes back");
      return;
    default:
      (void)parse_archive_seen_key(as_string(bytes));
      (void)parse_orphan_key(as_string(bytes));
  }
}

}  // namespace coffer::fuzz
