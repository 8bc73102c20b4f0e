// Segments: runs of a state's rows, sorted by key, as objects obj/<..>/<id> that checkpoints list and share.
//
//     0  epoch u32                  of the keys that it is sealed with
//     4  AEAD( version u8 = 1 | method u8: 0 as it is, 1 one zstd frame | plain length u32 | stored length u32
//              | stored | zeros ), to the end; the object has a padded size
// The plain content: ( key string | value bytes )*, keys rising.
//
// Associated data: kSegment, the segment's id, place 0.
//
// Where one segment ends and the next begins depends on the keys around it only, so that a run of rows that did not change
// is cut as before, and the segment of an earlier checkpoint serves again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "fs/sync/record.h"

namespace coffer {

inline constexpr uint8_t kSegmentVersion = 1;
inline constexpr size_t kSegmentFrom = 256 << 10;  // plain bytes from which on it may end
inline constexpr size_t kSegmentUpTo = 1 << 20;    // and at which it does
inline constexpr size_t kSegmentPlainMax = 4
                                           << 20;  // more is refused: that, and one more row, are the most there can be

// How a checkpoint names a segment.
struct SegmentInfo {
  ObjectId id;
  Hash sealed;  // BLAKE2b-256 of the object
  Hash plain;   // of the plain content
  uint64_t object_size = 0, plain_size = 0, rows = 0;
  std::string first_key;
  bool operator==(const SegmentInfo&) const = default;
};

struct SegmentContent {
  Bytes plain;
  uint64_t rows = 0;
  std::string first_key;
};

// Cuts a sequence of rows into segments. Not thread-safe.
class SegmentCutter {
 public:
  // The next row; keys rise. The segment before it, when one ends there.
  std::optional<SegmentContent> add(std::string_view key, BytesView value);
  // What is left.
  std::optional<SegmentContent> finish();

 private:
  SegmentContent content_;
};

Bytes seal_segment(BytesView plain, const VolumeId& volume, const ObjectId& id, const EpochKeys& keys);
// The plain content of an object that is said to be `info.id`. Nothing of it is looked at before its hash is what `info`,
// which somebody signed, says. kCorrupt, kTooNew, kDenied: sealed with keys that this machine does not have.
Result<Bytes> open_segment(BytesView object, const VolumeId& volume, const SegmentInfo& info, const KeysOfEpoch& keys);
// Visits every row of a plain content, until one fails. kCorrupt: it is not what `info` says.
Result<void> visit_rows(BytesView plain, const SegmentInfo& info,
                        const std::function<Result<void>(std::string_view key, BytesView value)>& visit);

}  // namespace coffer
