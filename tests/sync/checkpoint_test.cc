// Segments and roots of checkpoints as bytes, and when one is due.
#include "fs/sync/checkpoint.h"

#include "crypto/hash.h"
#include "crypto/padding.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/checkpoint_policy.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/object_keys.h"
#include "tests/sync/fixture.h"

namespace coffer::test {
namespace {

// 200,000 rows of about 40 bytes.
std::map<std::string, Bytes> many_rows() {
  std::map<std::string, Bytes> rows;
  for (uint64_t i = 0; i < 200'000; ++i) {
    std::string key = "I";
    append_number(key, i * 7);
    rows[key] = noise(30, i);
  }
  return rows;
}

std::vector<SegmentContent> cut(const std::map<std::string, Bytes>& rows) {
  SegmentCutter cutter;
  std::vector<SegmentContent> out;
  for (const auto& [key, value] : rows)
    if (auto ended = cutter.add(key, value)) out.push_back(std::move(*ended));
  if (auto last = cutter.finish()) out.push_back(std::move(*last));
  return out;
}

std::set<Hash> hashes(const std::vector<SegmentContent>& segments) {
  std::set<Hash> out;
  for (const SegmentContent& s : segments) out.insert(blake2b(s.plain));
  return out;
}

class CheckpointTest : public SyncUnitTest {
 protected:
  CheckpointTest() : device_(make_device(7)) {
    checkpoint_.stamp = 77;
    checkpoint_.records = 12;
    checkpoint_.when = {1'700'000'000'123'456'789};
    checkpoint_.certificate = device_.certificate;
    Writer rows(plain_);
    for (const char* key : {"E1", "I1", "I2"}) {
      rows.string(key);
      rows.bytes(text(500, 1));
    }
    info_.id = fixed_id<ObjectId>(0x10);
    object_ = seal_segment(plain_, volume_, info_.id, keys_);
    info_.sealed = blake2b(object_);
    info_.plain = blake2b(plain_);
    info_.object_size = object_.size();
    info_.plain_size = plain_.size();
    info_.rows = 3;
    info_.first_key = "E1";
    checkpoint_.segments = {info_};
  }
  KeysOfEpoch keys() const {
    return [this](Epoch e) { return e == 1 ? &keys_ : nullptr; };
  }
  Result<Bytes> open(BytesView object) const { return open_segment(object, volume_, info_, keys()); }
  Result<Checkpoint> open_root(BytesView object) const {
    return open_checkpoint(object, volume_, root_, keys(), signing_.public_key());
  }
  Bytes seal_root() const { return seal_checkpoint(checkpoint_, volume_, root_, keys_, device_.key).value(); }

  DeviceIdentity device_;
  Checkpoint checkpoint_;
  SegmentInfo info_;
  Bytes plain_, object_;
  const ObjectId root_ = fixed_id<ObjectId>(0x20);
};

TEST(SegmentCutter, AChangeTouchesTheSegmentsAroundIt) {
  auto rows = many_rows();
  auto segments = cut(rows);
  ASSERT_GT(segments.size(), 8u);
  size_t bytes = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    bytes += segments[i].plain.size();
    EXPECT_LE(segments[i].plain.size(), kSegmentUpTo + 100);
    if (i + 1 < segments.size()) {
      EXPECT_GE(segments[i].plain.size(), kSegmentFrom);
    }
  }
  EXPECT_GT(bytes, 200'000u * 40);
  auto before = hashes(segments);
  for (uint64_t at : {uint64_t{0}, uint64_t{100'000}, uint64_t{199'999}}) {
    auto changed = rows;
    std::string key = "I";
    append_number(key, at * 7 + 3);
    changed[key] = noise(30, 1);  // one more
    key = "I";
    append_number(key, at * 7);
    changed[key] = noise(31, 2);  // one changed
    size_t fresh = 0;
    for (const Hash& h : hashes(cut(changed))) fresh += !before.contains(h);
    EXPECT_GE(fresh, 1u);
    EXPECT_LE(fresh, 3u);
  }
}

TEST_F(CheckpointTest, ASegmentComesBack) {
  EXPECT_EQ(object_.size(), padded_size(object_.size()));
  TAKE(Bytes plain, open(object_));
  EXPECT_EQ(plain, plain_);
  std::vector<std::string> keys;
  ASSERT_OK(visit_rows(plain, info_, [&](std::string_view key, BytesView value) -> Result<void> {
    keys.emplace_back(key);
    EXPECT_EQ(to_bytes(value), text(500, 1));
    return {};
  }));
  EXPECT_EQ(keys, (std::vector<std::string>{"E1", "I1", "I2"}));
}

TEST_F(CheckpointTest, EveryFlippedByteAndTruncationOfASegmentIsFound) {
  for (size_t i = 0; i < object_.size(); ++i) {
    Bytes bad = object_;
    bad[i] ^= 0x40;
    EXPECT_CODE(Code::kCorrupt, open(bad));
    EXPECT_CODE(Code::kCorrupt, open(BytesView(object_).first(i)));
    // Even where the hash is not looked at, since its own is what is asked for.
    SegmentInfo info = info_;
    info.sealed = blake2b(bad);
    EXPECT_FALSE(open_segment(bad, volume_, info, keys()).has_value()) << "byte " << i;
  }
  SegmentInfo info = info_;
  for (size_t size : {size_t{0}, size_t{3}, size_t{44}, object_.size() - 1}) {
    BytesView part = BytesView(object_).first(size);
    info.sealed = blake2b(part);
    info.object_size = size;
    EXPECT_CODE(Code::kCorrupt, open_segment(part, volume_, info, keys()));
  }
}

TEST_F(CheckpointTest, ASegmentOpensOnlyInItsPlaceAndAsItWasSigned) {
  EXPECT_CODE(Code::kCorrupt, open_segment(object_, fixed_id<VolumeId>(0x99), info_, keys()));
  SegmentInfo other = info_;
  other.id = fixed_id<ObjectId>(0x11);
  EXPECT_CODE(Code::kCorrupt, open_segment(object_, volume_, other, keys()));
  other = info_;
  other.plain.bytes[0] ^= 1;
  EXPECT_CODE(Code::kCorrupt, open_segment(object_, volume_, other, keys()));
  other = info_;
  ++other.plain_size;
  EXPECT_CODE(Code::kCorrupt, open_segment(object_, volume_, other, keys()));
  EXPECT_CODE(Code::kDenied, open_segment(object_, volume_, info_, [](Epoch) -> const EpochKeys* { return nullptr; }));
}

TEST_F(CheckpointTest, RowsAreThoseThatWereSigned) {
  auto visit = [](std::string_view, BytesView) -> Result<void> { return {}; };
  auto refused = [&](auto change) {
    SegmentInfo info = info_;
    change(info);
    EXPECT_CODE(Code::kCorrupt, visit_rows(plain_, info, visit));
  };
  EXPECT_OK(visit_rows(plain_, info_, visit));
  refused([](SegmentInfo& i) { ++i.rows; });
  refused([](SegmentInfo& i) { --i.rows; });
  refused([](SegmentInfo& i) { i.first_key = "E2"; });
  for (size_t size = 0; size < plain_.size(); ++size)
    EXPECT_CODE(Code::kCorrupt, visit_rows(BytesView(plain_).first(size), info_, visit));
  Bytes unsorted;
  Writer rows(unsorted);
  for (const char* key : {"E1", "I2", "I1"}) {
    rows.string(key);
    rows.bytes({});
  }
  EXPECT_CODE(Code::kCorrupt, visit_rows(unsorted, info_, visit));
}

TEST_F(CheckpointTest, ARootComesBack) {
  Bytes object = seal_root();
  EXPECT_EQ(object.size(), padded_size(object.size()));
  TAKE(Checkpoint opened, open_root(object));
  EXPECT_EQ(opened.stamp, 77u);
  EXPECT_EQ(opened.records, 12u);
  EXPECT_EQ(opened.when, checkpoint_.when);
  EXPECT_EQ(opened.segments, checkpoint_.segments);
  EXPECT_EQ(opened.certificate.device, device_.device);
  EXPECT_EQ(opened.rows(), 3u);
  EXPECT_EQ(opened.object_bytes(), object_.size());
}

// The root and the segment were sealed by the build that introduced version 1.
TEST_F(CheckpointTest, GoldenBytes) {
  const std::string at = std::string(COFFER_SOURCE_DIR) + "/tests/sync/";
  if (std::getenv("COFFER_WRITE_GOLDEN") != nullptr) {
    spill(at + "segment_v1.bin", object_);
    spill(at + "checkpoint_v1.bin", seal_root());
  }
  Bytes segment = slurp(at + "segment_v1.bin");
  TAKE(Checkpoint root, open_root(slurp(at + "checkpoint_v1.bin")));
  ASSERT_EQ(root.segments.size(), 1u);
  EXPECT_EQ(root.segments[0].plain, info_.plain);
  TAKE(Bytes plain, open_segment(segment, volume_, root.segments[0], keys()));
  EXPECT_EQ(plain, plain_);
}

TEST_F(CheckpointTest, EveryFlippedByteAndTruncationOfARootIsFound) {
  Bytes object = seal_root();
  for (size_t i = 0; i < object.size(); ++i) {
    Bytes bad = object;
    bad[i] ^= 0x40;
    EXPECT_FALSE(open_root(bad).has_value()) << "byte " << i;
    EXPECT_FALSE(open_root(BytesView(object).first(i)).has_value()) << "size " << i;
  }
  Bytes longer = object;
  longer.push_back(0);
  EXPECT_FALSE(open_root(longer).has_value());
}

TEST_F(CheckpointTest, ARootOpensOnlyInItsPlace) {
  Bytes object = seal_root();
  EXPECT_CODE(Code::kCorrupt,
              open_checkpoint(object, volume_, fixed_id<ObjectId>(0x21), keys(), signing_.public_key()));
  EXPECT_CODE(Code::kCorrupt, open_checkpoint(object, fixed_id<VolumeId>(0x99), root_, keys(), signing_.public_key()));
  EXPECT_CODE(Code::kDenied,
              open_checkpoint(
                  object, volume_, root_, [](Epoch) -> const EpochKeys* { return nullptr; }, signing_.public_key()));
}

TEST_F(CheckpointTest, ADeviceThatOthersVouchForMakesThemToo) {
  DeviceIdentity second = make_device(8, device_);
  checkpoint_.certificate = second.certificate;
  TAKE(Checkpoint opened, open_root(seal_checkpoint(checkpoint_, volume_, root_, keys_, second.key).value()));
  EXPECT_EQ(opened.certificate.device, second.device);
  EXPECT_EQ(opened.certificate.vouchers.size(), 1u);
  EXPECT_EQ(opened.segments, checkpoint_.segments);
  checkpoint_.certificate.vouchers[0].signature.bytes[3] ^= 1;
  EXPECT_CODE(Code::kCorrupt, open_root(seal_checkpoint(checkpoint_, volume_, root_, keys_, second.key).value()));
}

TEST_F(CheckpointTest, OnlyAMembersSignatureCounts) {
  // By the wrong key, with a member's certificate.
  Bytes object = seal_checkpoint(checkpoint_, volume_, root_, keys_, make_device(8).key).value();
  EXPECT_CODE(Code::kCorrupt, open_root(object));
  // By somebody whom another volume let in.
  EXPECT_CODE(Code::kCorrupt,
              open_checkpoint(seal_root(), volume_, root_, keys(), fixed_signing_key(0x78).public_key()));
}

TEST_F(CheckpointTest, NonsenseThatIsSignedIsRefused) {
  auto refused = [&](auto change) {
    Checkpoint before = checkpoint_;
    change(checkpoint_);
    EXPECT_CODE(Code::kCorrupt, open_root(seal_root()));
    checkpoint_ = before;
  };
  refused([](Checkpoint& c) { c.segments.clear(); });
  refused([](Checkpoint& c) { c.segments.push_back(c.segments[0]); });  // no rising keys
  refused([](Checkpoint& c) { c.segments[0].plain_size = uint64_t{1} << 40; });
  refused([](Checkpoint& c) { c.segments[0].object_size = uint64_t{1} << 40; });
  refused([](Checkpoint& c) { c.segments[0].rows = uint64_t{1} << 40; });
  refused([](Checkpoint& c) { c.segments[0].rows = 0; });
  refused([](Checkpoint& c) { c.records = 0; });
  refused([](Checkpoint& c) { c.stamp = 0; });
}

TEST(PlaceRow, APackMayBeginBeforeTheRecordThatCarriesItsEnd) {
  const ObjectId pack = fixed_id<ObjectId>(0x20);
  for (uint64_t offset : {uint64_t{0}, uint64_t{300}, 0 - uint64_t{50'000}, 0 - uint64_t{UINT32_MAX}}) {
    PackPlace place{"log/x", offset, 100'000};
    auto back = decode_place(place_row_key(pack), encode_place(place));
    ASSERT_TRUE(back.has_value()) << offset << ": " << back.error().what();
    EXPECT_EQ(back->first, pack);
    EXPECT_EQ(back->second.offset, offset);
  }
  for (uint64_t offset : {uint64_t{kRecordMax} + 1, 0 - uint64_t{UINT32_MAX} - 1})
    EXPECT_FALSE(decode_place(place_row_key(pack), encode_place({"log/x", offset, 100'000})).has_value()) << offset;
}

TEST(CheckpointHint, ComesBackAndOnlyInItsForm) {
  CheckpointName name{123, fixed_id<ObjectId>(0xab)};
  EXPECT_EQ(name.hint(), "head/checkpoint-123-" + name.root.str());
  EXPECT_TRUE(valid_object_key(name.hint()));
  EXPECT_EQ(parse_checkpoint_hint(name.hint()), name);
  EXPECT_FALSE(parse_hint_key(name.hint()));
  const std::string root = name.root.str();
  for (const std::string& bad :
       {"head/checkpoint-0-" + root, "head/checkpoint-01-" + root, "head/checkpoint--" + root,
        "head/checkpoint-1-" + root + "0", "head/checkpoint-1-" + root.substr(1), "head/checkpoint-1" + root,
        "head/checkpoint-18446744073709551616-" + root, "head/checkpoint-1-" + std::string(32, 'G'),
        "obj/checkpoint-1-" + root, std::string("head/checkpoint-")})
    EXPECT_FALSE(parse_checkpoint_hint(bad)) << bad;
}

TEST(CheckpointPolicy, WhenReplayingIsDearer) {
  constexpr uint64_t kFrom = 8 << 20;
  EXPECT_FALSE(checkpoint_due({0, 0}, 0, kFrom));
  EXPECT_FALSE(checkpoint_due({63, 0}, 0, kFrom));
  EXPECT_TRUE(checkpoint_due({64, 0}, 0, kFrom));
  EXPECT_TRUE(checkpoint_due({1, kFrom}, 0, kFrom));
  EXPECT_FALSE(checkpoint_due({0, kFrom}, 0, kFrom));
  EXPECT_FALSE(checkpoint_due({1000, kFrom}, 0, 0));  // never
  EXPECT_FALSE(checkpoint_due({64, 0}, 100 << 20, kFrom));
  EXPECT_TRUE(checkpoint_due({64, 42 << 20}, 100 << 20, kFrom));
}

TEST(LogRows, AreWholeOrRefused) {
  LogTails logs([](const RowKey&) -> Result<std::optional<Bytes>> { return std::nullopt; });
  TailBatch batch(logs);
  OpenedRecord record;
  record.log = fixed_id<LogId>(1);
  for (uint64_t n = 1; n <= 3; ++n) {
    record.number = n;
    record.hash = fixed_id<Hash>(static_cast<uint8_t>(n));
    record.record.stamp = 10 * n;
    ASSERT_OK(batch.add(record));
  }
  std::vector<Row> tails, marks;
  for (const RowPut& put : batch.rows())
    (put.key.bytes.starts_with(LogTails::kTailPrefix) ? tails : marks).push_back({put.key.bytes, *put.value});
  TAKE(LogExtent extent, check_log_rows(tails, marks));
  EXPECT_EQ(extent.stamp, 30u);
  EXPECT_EQ(extent.records, 3u);
  auto fewer = marks;
  fewer.erase(fewer.begin() + 1);
  EXPECT_CODE(Code::kCorrupt, check_log_rows(tails, fewer));
  fewer = marks;
  fewer.pop_back();
  EXPECT_CODE(Code::kCorrupt, check_log_rows(tails, fewer));
  EXPECT_CODE(Code::kCorrupt, check_log_rows({}, marks));
  EXPECT_CODE(Code::kCorrupt, check_log_rows(tails, {}));
  auto swapped = marks;
  std::swap(swapped[0].value, swapped[1].value);
  EXPECT_CODE(Code::kCorrupt, check_log_rows(tails, swapped));
}

}  // namespace
}  // namespace coffer::test
