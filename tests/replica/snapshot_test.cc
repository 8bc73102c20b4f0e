// Reading the state of one moment while work goes on, and giving it to a new replica.
#include "fs/replica/snapshot.h"

#include <gtest/gtest.h>

#include "fs/replica/loaded_state.h"
#include "tests/cache/fixture.h"
#include "tests/replica/exchange.h"

namespace coffer {
namespace {

using model::kRootIno;
using model::RowKind;
using test::Exchange;
using test::Packs;
using test::TempDir;
using test::TestVolume;

class SnapshotTest : public ::testing::Test {
 protected:
  SnapshotTest() {
    auto opened = volume_.open(dir_.path());
    EXPECT_TRUE(opened.has_value());
    replica_ = std::move(*opened);
    EXPECT_OK(replica_->make_root());
  }
  Ino make(const std::string& name, BytesView content) {
    model::NewInode what;
    what.mode = 0644;
    auto node = replica_->make(kRootIno, name, what);
    EXPECT_TRUE(node.has_value());
    EXPECT_OK(replica_->write(node->ino, 0, content, false));
    return node->ino;
  }
  // Everything is in a record that is stable.
  void calm() {
    auto record = exchange_.publish(*replica_, packs_);
    if (record) EXPECT_OK(replica_->set_stable(record->stamp));
  }
  static Result<std::unique_ptr<LoadedState>> read(StateSnapshot& snapshot) {
    auto state = std::make_unique<LoadedState>();
    auto add = [&](std::string_view key, BytesView value) { return state->add(key, value); };
    TRYV(snapshot.survey({}));
    for (RowKind kind :
         {RowKind::kBitmap, RowKind::kExtents, RowKind::kEntry, RowKind::kInode, RowKind::kLink, RowKind::kXattrs})
      TRYV(snapshot.visit(kind, add, {}));
    EXPECT_EQ(snapshot.packs(), state->packs());
    TRY(auto faults, state->find_faults());
    EXPECT_EQ(faults, std::vector<std::string>());
    return state;
  }
  static std::vector<std::string> names(Replica& replica) {
    std::vector<std::string> out;
    auto entries = replica.list(kRootIno, 0, 1000);
    EXPECT_OK(entries);
    if (!entries) return out;
    for (const auto& e : *entries) out.push_back(e.entry.name);
    return out;
  }

  TempDir dir_;
  TestVolume volume_;
  Exchange exchange_;
  Packs packs_;
  std::unique_ptr<Replica> replica_;
};

TEST_F(SnapshotTest, OnlyOfACalmMoment) {
  TAKE(auto none, replica_->snapshot());
  EXPECT_FALSE(none);  // the root is pending
  auto record = exchange_.publish(*replica_, packs_);
  TAKE(none, replica_->snapshot());
  EXPECT_FALSE(none);  // above the line
  ASSERT_OK(replica_->set_stable(record->stamp));
  TAKE(auto some, replica_->snapshot());
  EXPECT_TRUE(some);
  make("x", {});
  TAKE(none, replica_->snapshot());
  EXPECT_FALSE(none);
}

TEST_F(SnapshotTest, IsOfOneMomentAndMakesAnotherReplica) {
  for (int i = 0; i < 50; ++i) make("f" + std::to_string(i), test::noise(3000, static_cast<uint64_t>(i)));
  Ino large = make("large", test::noise(3 << 20, 1));
  ASSERT_OK(replica_->link(large, kRootIno, "linked"));
  ASSERT_OK(replica_->set_xattr(large, "user.x", Bytes{1}, model::XattrMode::kAny));
  // Unlinked and open here: it is nobody else's business.
  make("open", test::noise(3 << 20, 2));
  calm();
  TAKE(auto gone, replica_->unlink(kRootIno, "open"));
  EXPECT_TRUE(gone.last);
  calm();
  auto before = names(*replica_);
  TAKE(auto snapshot, replica_->snapshot());
  ASSERT_TRUE(snapshot);
  for (int i = 0; i < 50; i += 2) ASSERT_OK(replica_->unlink(kRootIno, "f" + std::to_string(i)));
  ASSERT_OK(replica_->write(large, 1 << 20, test::noise(1000, 3), false));
  ASSERT_OK(replica_->truncate(large, 2 << 20));
  ASSERT_OK(replica_->unlink(kRootIno, "linked"));
  ASSERT_OK(replica_->remove_xattr(large, "user.x"));
  make("new", test::noise(3 << 20, 4));
  calm();
  TAKE(auto state, read(*snapshot));
  TempDir dir;
  std::vector<std::pair<ObjectId, PackPlace>> places;
  for (const ObjectId& pack : state->packs()) {
    TAKE(auto place, replica_->place_of(pack));
    ASSERT_TRUE(place);
    places.emplace_back(pack, *place);
  }
  TAKE(auto other, volume_.open(dir.path()));
  RowPut row{clear_key("Sx"), Bytes{7}};
  ASSERT_OK(other->load(*state, 7, places, std::span(&row, 1), {}));
  EXPECT_EQ(other->stable(), 7u);
  EXPECT_EQ(names(*other), before);
  EXPECT_EQ(other->attributes(large)->size, uint64_t{3} << 20);
  EXPECT_EQ(other->attributes(large)->nlink, 2u);
  EXPECT_EQ(other->get_xattr(large, "user.x").value(), Bytes{1});
  EXPECT_EQ(other->get_row(row.key).value(), Bytes{7});
  EXPECT_TRUE(other->place_of(places.front().first).value());
  TAKE(auto faults, other->find_faults());
  EXPECT_EQ(faults, std::vector<std::string>());
  EXPECT_CODE(Code::kInternal, other->load(*state, 1, places, {}, {}));  // it is not new any more
  ASSERT_OK(other->close());
  other.reset();
  TAKE(other, volume_.open(dir.path()));
  EXPECT_EQ(other->stable(), 7u);
  EXPECT_EQ(names(*other), before);
}

TEST_F(SnapshotTest, AHalfLoadedReplicaIsEmptyAgain) {
  for (int i = 0; i < 20'000; ++i) make("file number " + std::to_string(i), {});
  calm();
  TAKE(auto snapshot, replica_->snapshot());
  TAKE(auto state, read(*snapshot));
  TempDir dir;
  for (const char* step : {"replica.load_batch=error", "replica.load_batch=error@2", "replica.load_last=error"}) {
    SCOPED_TRACE(step);
    TAKE(auto other, volume_.open(dir.path()));
    TAKE(bool root, other->has_root());
    EXPECT_FALSE(root);
    TAKE(auto rows, other->rows_with_prefix("E"));
    EXPECT_TRUE(rows.empty());
    arm_failpoints(step);
    EXPECT_CODE(Code::kIo, other->load(*state, 1, {}, {}, {}));
    arm_failpoints("");
    ASSERT_OK(other->close());
  }
  TAKE(auto other, volume_.open(dir.path()));
  ASSERT_OK(other->load(*state, 1, {}, {}, {}));
  EXPECT_EQ(names(*other).size(), 1000u);
}

TEST(LoadedState, RefusesWhatIsNoState) {
  model::Inode file;
  file.nlink = 1;
  LoadedState state;
  EXPECT_CODE(Code::kCorrupt, state.add("", {}));
  EXPECT_CODE(Code::kCorrupt, state.add("T12345678", {}));
  EXPECT_CODE(Code::kCorrupt, state.add("I1234567", encode(file)));
  EXPECT_CODE(Code::kCorrupt, state.add("I123456789", encode(file)));
  EXPECT_CODE(Code::kCorrupt, state.add(model::inode_key(7).bytes, Bytes{1, 2, 3}));
  EXPECT_CODE(Code::kCorrupt, state.add(model::link_key(7, 1, 3).bytes, Bytes{1}));
  EXPECT_CODE(Code::kCorrupt, state.add(model::name_key(1, "x").bytes, model::encode_number(3)));
  file.nlink = 0;
  EXPECT_CODE(Code::kCorrupt, state.add(model::inode_key(7).bytes, encode(file)));
  // An inode that names more chunks than could ever be looked at.
  file.nlink = 1;
  file.size = model::kSizeMax;
  file.chunks = {{0, uint64_t{1} << 42}};
  ASSERT_OK(state.add(model::inode_key(7).bytes, encode(file)));
  TAKE(auto faults, state.find_faults());
  EXPECT_EQ(faults.size(), 1u);
  LoadedState rootless;
  TAKE(faults, rootless.find_faults());
  EXPECT_FALSE(faults.empty());
}

}  // namespace
}  // namespace coffer
