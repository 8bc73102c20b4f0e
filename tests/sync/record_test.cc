#include "fs/sync/record.h"

#include "crypto/hash.h"
#include "crypto/padding.h"
#include "fs/sync/object_keys.h"
#include "tests/sync/fixture.h"

namespace coffer::test {
namespace {

class RecordTest : public SyncUnitTest {
 protected:
  RecordTest() : device_(make_device(7)) {
    record_.stamp = 77;
    record_.previous = fixed_id<Hash>(0x44);
    record_.when = {1'700'000'000'123'456'789};
    record_.heads = {{fixed_id<LogId>(1), 3, fixed_id<Hash>(0x55)}, {fixed_id<LogId>(2), 300, fixed_id<Hash>(0x66)}};
    RecordPack own, carried;
    own.id = fixed_id<ObjectId>(0x10);
    own.size = 5'000'000;
    carried.id = fixed_id<ObjectId>(0x20);
    carried.carried = true;
    carried.first = 9;
    carried.length = 100;
    record_.packs = {own, carried};
    record_.changes = some_changes(1);
    carried_ = noise(100, 1);
  }

  Result<OpenedRecord> open(BytesView object, const LogId& log, uint64_t number) {
    return open_record(object, volume_, log, number, [this](Epoch e) { return e == 1 ? &keys_ : nullptr; });
  }
  SealedRecord seal(const LogId& log, uint64_t number) {
    return seal_record(record_, carried_, volume_, log, number, keys_, device_.key).value();
  }

  DeviceIdentity device_;
  Record record_;
  Bytes carried_;
  const LogId log_ = fixed_id<LogId>(9);
};

TEST_F(RecordTest, ComesBackAsItWas) {
  SealedRecord sealed = seal(log_, 12);
  EXPECT_EQ(sealed.object.size(), padded_size(sealed.object.size()));
  TAKE(OpenedRecord opened, open(sealed.object, log_, 12));
  EXPECT_EQ(opened.hash, sealed.hash);
  EXPECT_EQ(opened.carried_at, sealed.carried_at);
  EXPECT_TRUE(opened.signed_by(device_.key.public_key()));
  EXPECT_FALSE(opened.signed_by(make_device(8).key.public_key()));
  EXPECT_EQ(opened.record.stamp, 77u);
  EXPECT_EQ(opened.record.previous, record_.previous);
  EXPECT_EQ(opened.record.when, record_.when);
  EXPECT_EQ(opened.record.heads, record_.heads);
  EXPECT_EQ(opened.record.packs, record_.packs);
  EXPECT_EQ(opened.record.changes, record_.changes);
  EXPECT_FALSE(opened.record.opening || opened.record.closing || opened.record.acknowledgement);
  EXPECT_EQ(Bytes(sealed.object.begin() + static_cast<ptrdiff_t>(sealed.carried_at),
                  sealed.object.begin() + static_cast<ptrdiff_t>(sealed.carried_at) + 100),
            carried_);
}

TEST_F(RecordTest, OpeningByADeviceThatOthersVouchForComesBack) {
  DeviceIdentity second = make_device(8, device_), third = make_device(9, second);
  record_.opening = RecordOpening{third.certificate, "phone", {}};
  TAKE(OpenedRecord opened, open(seal(log_, 1).object, log_, 1));
  EXPECT_EQ(opened.record.opening->device_name, "phone");
  EXPECT_EQ(opened.record.opening->certificate.vouchers.size(), 2u);
  EXPECT_TRUE(opened.record.opening->certificate.valid(signing_.public_key(), volume_));
}

TEST_F(RecordTest, OpeningComesBack) {
  RecordOpening opening{device_.certificate, "laptop", LogHead{fixed_id<LogId>(3), 8, fixed_id<Hash>(0x77)}};
  record_.opening = opening;
  record_.closing = record_.acknowledgement = true;
  TAKE(OpenedRecord opened, open(seal(log_, 1).object, log_, 1));
  EXPECT_EQ(opened.record.opening->device_name, "laptop");
  EXPECT_EQ(opened.record.opening->predecessor, opening.predecessor);
  EXPECT_TRUE(opened.record.opening->certificate.valid(signing_.public_key(), volume_));
  EXPECT_TRUE(opened.record.closing && opened.record.acknowledgement);
  record_.opening->predecessor.reset();
  TAKE(opened, open(seal(log_, 1).object, log_, 1));
  EXPECT_FALSE(opened.record.opening->predecessor);
  EXPECT_CODE(Code::kCorrupt, open(seal(log_, 2).object, log_, 2));  // only a first record opens a log
  record_.opening.reset();
  EXPECT_CODE(Code::kCorrupt, open(seal(log_, 1).object, log_, 1));
}

// The hash covers every byte of the plaintext body, signature included, and signing is deterministic: if it is the same,
// so is the encoding. The object was sealed by the build that introduced version 1.
TEST_F(RecordTest, GoldenBytes) {
  SealedRecord sealed = seal(log_, 12);
  EXPECT_EQ(sealed.hash.str(), kGoldenHash);
  std::string path = std::string(COFFER_SOURCE_DIR) + "/tests/sync/record_v1.bin";
  if (std::getenv("COFFER_WRITE_GOLDEN") != nullptr) spill(path, sealed.object);
  Bytes object = slurp(path);
  TAKE(OpenedRecord opened, open(object, log_, 12));
  EXPECT_EQ(opened.hash.str(), kGoldenHash);
  EXPECT_EQ(opened.record.changes, record_.changes);
  EXPECT_TRUE(opened.signed_by(device_.key.public_key()));
}

TEST_F(RecordTest, EveryFlippedByteIsFound) {
  SealedRecord sealed = seal(log_, 12);
  size_t end = sealed.carried_at + carried_.size();
  for (size_t i = 0; i < sealed.object.size(); ++i) {
    Bytes object = sealed.object;
    object[i] ^= 0x40;
    auto opened = open(object, log_, 12);
    if (i < end)
      EXPECT_FALSE(opened.has_value()) << "byte " << i;
    else
      EXPECT_TRUE(opened.has_value() && opened->hash == sealed.hash) << "padding byte " << i;  // says nothing
  }
}

TEST_F(RecordTest, EveryTruncationIsNotYetHere) {
  SealedRecord sealed = seal(log_, 12);
  for (size_t size = 0; size < sealed.object.size(); ++size)
    EXPECT_CODE(Code::kUnavailable, open(BytesView(sealed.object).first(size), log_, 12));
  Bytes longer = sealed.object;
  longer.push_back(0);
  EXPECT_CODE(Code::kCorrupt, open(longer, log_, 12));
}

TEST_F(RecordTest, OpensOnlyInItsPlace) {
  SealedRecord sealed = seal(log_, 12);
  EXPECT_CODE(Code::kCorrupt, open(sealed.object, log_, 13));
  EXPECT_CODE(Code::kCorrupt, open(sealed.object, fixed_id<LogId>(8), 12));
  EXPECT_CODE(Code::kCorrupt,
              open_record(sealed.object, fixed_id<VolumeId>(0x99), log_, 12, [this](Epoch) { return &keys_; }));
  EXPECT_CODE(Code::kDenied,
              open_record(sealed.object, volume_, log_, 12, [](Epoch) -> const EpochKeys* { return nullptr; }));
  EpochKeys other(1, fixed_secret(0x12));
  EXPECT_CODE(Code::kCorrupt, open_record(sealed.object, volume_, log_, 12, [&](Epoch) { return &other; }));
}

TEST_F(RecordTest, CarriedBytesMustBeThoseThatWereSigned) {
  Bytes other = noise(100, 2);
  SealedRecord sealed = seal(log_, 12), swapped = sealed;
  std::copy(other.begin(), other.end(), swapped.object.begin() + static_cast<ptrdiff_t>(sealed.carried_at));
  EXPECT_CODE(Code::kCorrupt, open(swapped.object, log_, 12));
}

TEST_F(RecordTest, NonsenseThatIsSignedIsRefused) {
  auto refused = [&](auto change) {
    Record before = record_;
    change(record_);
    EXPECT_CODE(Code::kCorrupt, open(seal(log_, 12).object, log_, 12));
    record_ = before;
  };
  refused([](Record& r) { std::swap(r.heads[0], r.heads[1]); });
  refused([](Record& r) { r.heads[1] = r.heads[0]; });
  refused([](Record& r) { r.heads[0].number = 0; });
  refused([](Record& r) { r.packs[1].length = 101; });
  refused([](Record& r) { r.packs[1].at = UINT64_MAX; });
  refused([](Record& r) { r.packs[1].first = uint64_t{1} << 40; });
  refused([](Record& r) { r.packs[0].size = uint64_t{1} << 40; });
}

TEST(DeviceName, IsPrintable) {
  EXPECT_TRUE(valid_device_name("lap top ä"));
  for (std::string bad : {std::string(), std::string("a/b"), std::string("a\nb"), std::string("a\0b", 3),
                          std::string(65, 'x'), std::string("\x7f")})
    EXPECT_FALSE(valid_device_name(bad));
}

TEST(ObjectKeys, ComeBack) {
  RecordName name{fixed_id<LogId>(0xab), 18446744073709551615u, 0xdeadbeef};
  EXPECT_EQ(name.key(),
            "log/" + std::string(32, 'x').replace(0, 32, name.log.str()) + "/18446744073709551615-00000000deadbeef");
  EXPECT_EQ(parse_record_key(name.key()), name);
  EXPECT_EQ(parse_hint_key(name.hint()), name);
  EXPECT_TRUE(valid_object_key(name.key()) && valid_object_key(name.hint()));
  EXPECT_EQ(pack_key(fixed_id<ObjectId>(0xab)), "obj/ab/" + fixed_id<ObjectId>(0xab).str());
}

TEST(ObjectKeys, OnlyTheirOwnForm) {
  std::string log = fixed_id<LogId>(0xab).str(), tag = "00000000deadbeef";
  EXPECT_TRUE(parse_record_key("log/" + log + "/1-" + tag));
  for (const std::string& bad :
       {"log/" + log + "/0-" + tag, "log/" + log + "/01-" + tag, "log/" + log + "/-" + tag,
        "log/" + log + "/1-" + tag + "0", "log/" + log + "/1-" + tag.substr(1), "log/" + log + "/1" + tag,
        "log/" + log + "-1-" + tag, "log/" + log, "log/" + log + "/18446744073709551616-" + tag,
        "log/" + log + "/1-00000000DEADBEEF", "log/x/1-" + tag, std::string("log/"), std::string(),
        "head/" + log + "/1-" + tag, "log/" + log + "/+1-" + tag})
    EXPECT_FALSE(parse_record_key(bad)) << bad;
  EXPECT_FALSE(parse_hint_key("head/" + log + "/1-" + tag));
  EXPECT_TRUE(parse_hint_key("head/" + log + "-1-" + tag));
}

}  // namespace
}  // namespace coffer::test
