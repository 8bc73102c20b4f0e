// What a new device has to fetch before it can list the root and one directory of a large volume, counted at a metered store.
#include <cstdlib>
#include <functional>
#include <iostream>
#include <mutex>
#include <random>
#include <utility>

#include "crypto/random.h"
#include "fs/model/tree.h"
#include "fs/replica/row_parts.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/log_tails.h"
#include "tests/sync/checkpoint_fixture.h"

namespace coffer::test {
namespace {

using model::Ino;
using model::kRootIno;

constexpr uint64_t kFiles = 1000;
constexpr Ino kFirstFile = (Ino{0x1234567} << 24) + 1, kFirstDirectory = (Ino{0x7654321} << 24) + 1;

uint64_t directories() {
  const char* asked = std::getenv("COFFER_PARTS_DIRECTORIES");
  return asked ? std::strtoull(asked, nullptr, 10) : 100;
}

class PartsScaleTest : public WithCheckpoints {
 protected:
  // A checkpoint of `a`'s volume whose state is this many directories of kFiles files, with numbers as a replica hands them
  // out, and contents in one extent each: written at once, since making a million files takes its time.
  void put_checkpoint(Device& a, uint64_t count) {
    Checkpoint out;
    out.certificate = a.identity().certificate;
    SegmentCutter cutter;
    auto end = [&](std::optional<SegmentContent> content) {
      if (content) put_segment(std::move(*content), out);
    };
    auto put = [&](const std::string& key, BytesView value) { end(cutter.add(key, value)); };
    const ObjectId pack = random_id<ObjectId>();
    std::mt19937_64 rng(7);
    const WallTime when{1'700'000'000'123'456'789};
    for (uint64_t d = 0; d < count; ++d)
      put(model::entry_key(kRootIno, model::kFirstCookie + d).bytes,
          encode(model::Entry{"directory-" + std::to_string(d), kFirstDirectory + d, model::FileType::kDirectory}));
    for (uint64_t d = 0; d < count; ++d)
      for (uint64_t f = 0; f < kFiles; ++f)
        put(model::entry_key(kFirstDirectory + d, model::kFirstCookie + f).bytes,
            encode(model::Entry{"photograph-" + std::to_string(rng() % 1'000'000) + "-" + std::to_string(f) + ".jpeg",
                                kFirstFile + d * kFiles + f, model::FileType::kRegular}));
    auto put_inode = [&](Ino ino, model::Inode inode) {
      inode.uid = inode.gid = 1000;
      inode.atime = inode.mtime = inode.ctime =
          inode.btime = {when.ns + static_cast<int64_t>(rng() % 1'000'000'000'000)};
      put(model::inode_key(ino).bytes, encode(inode));
    };
    auto put_directory = [&](Ino ino, Ino parent, uint64_t cookie, uint64_t children, uint32_t below) {
      model::Inode inode;
      inode.type = model::FileType::kDirectory;
      inode.mode = 0755;
      inode.nlink = 2 + below;
      inode.parent = parent;
      inode.cookie = cookie;
      inode.next_cookie = model::kFirstCookie + children;
      put_inode(ino, inode);
    };
    put_directory(kRootIno, 0, 0, count, static_cast<uint32_t>(count));
    for (uint64_t d = 0; d < count; ++d)
      for (uint64_t f = 0; f < kFiles; ++f) {
        model::Inode inode;
        inode.mode = 0644;
        inode.nlink = 1;
        inode.parent = kFirstDirectory + d;
        inode.cookie = model::kFirstCookie + f;
        inode.version = rng();
        inode.size = 1000 + rng() % 50'000;
        model::Extent extent;
        extent.length = extent.frame_length = static_cast<uint32_t>(inode.size);
        extent.frame.pack = pack;
        extent.frame.offset = static_cast<uint32_t>(rng() % 1'000'000);
        extent.frame.length = extent.length + 40;
        random_bytes(extent.frame.hash.bytes);
        inode.only = extent;
        put_inode(kFirstFile + d * kFiles + f, inode);
      }
    for (uint64_t d = 0; d < count; ++d)
      put_directory(kFirstDirectory + d, kRootIno, model::kFirstCookie + d, kFiles, 0);
    // One for each pack of 8 MiB that so many files would be in, about.
    std::map<ObjectId, PackPlace> places{{pack, {pack_key(pack), 0, 8 << 20}}};
    for (uint64_t i = 0; i < count * kFiles / 300; ++i) {
      const auto id = random_id<ObjectId>();
      places.emplace(id, PackPlace{pack_key(id), 0, 8 << 20});
    }
    for (const auto& [id, place] : places) put(place_row_key(id), encode_place(place));
    for (const char* prefix : {LogTails::kMarkPrefix, LogTails::kTailPrefix}) {
      TAKE(auto rows, a.replica().rows_with_prefix(prefix));
      for (const Row& row : rows) put(row.key, row.value);
    }
    for (const LogTail& tail : a.logs()) {
      out.records += tail.number;
      out.stamp = std::max(out.stamp, tail.stamp);
    }
    end(cutter.finish());
    put_root(out, a);
    std::cout << out.segments.size() << " segments, " << out.object_bytes() << " bytes\n";
  }
};

TEST_F(PartsScaleTest, FiveRequestsInARowAndFourMebibytesListTheRootAndADirectory) {
  const uint64_t count = directories();
  auto a = device("a", eager());
  a->write("small", text(100, 1));
  wait_for_checkpoint(*a);
  a->stop();
  a->start();  // its log is closed, and the next has nothing yet
  put_checkpoint(*a, count);

  SyncOptions options = quick_options();
  options.parts_quiet = std::chrono::hours(1);
  options.poll_active = options.poll_idle = std::chrono::hours(1);
  Device c(volume_, memory_, "c", options);
  std::mutex mutex;
  std::vector<std::string> asked;  // of hints and of objects, in order
  c.faults().set_hook([&](const FaultCall& call) {
    std::lock_guard lock(mutex);
    if (call.key.starts_with(kHintPrefix) || call.key.starts_with(kObjectPrefix)) asked.push_back(call.key);
    return Fault{};
  });
  auto objects = [&] {
    std::lock_guard lock(mutex);
    return asked.size();
  };
  c.start();
  Replica& r = c.replica();
  ASSERT_TRUE(r.parts().loading());
  // A list of hints, the checkpoint's root, and then, none of them waiting for another, what is needed first.
  int in_a_row = 3;
  {
    std::lock_guard lock(mutex);
    ASSERT_GE(asked.size(), 3u);
    EXPECT_EQ(asked[0], kHintPrefix);
    EXPECT_EQ(asked[1], pack_key(hints().front().root));
  }
  EXPECT_EQ(r.list(kRootIno, 0, 10'000).value().size(), count);

  // The directory's attributes and its entries come at the same time, since one waiting call asks for both...
  const std::string name = "directory-" + std::to_string(count / 2);
  const size_t before = objects();
  bool asked_once = false;
  auto ask = [&](const std::function<bool()>& there) {
    PartWishes wishes;
    if (there()) return;
    if (!std::exchange(asked_once, true)) {
      ++in_a_row;
      c.sync_engine().fetch_parts(wishes.missed(), {}, [](Result<void>) {});
    }
    wait_until(there);
  };
  ask([&] { return r.lookup(kRootIno, name).has_value(); });
  TAKE(model::Node dir, r.lookup(kRootIno, name));
  ask([&] { return r.list(dir.ino, 0, 10'000).has_value(); });
  EXPECT_TRUE(asked_once);
  EXPECT_LE(objects() - before, 4u);  // by as many threads
  EXPECT_EQ(r.list(dir.ino, 0, 10'000).value().size(), kFiles);
  // ... and the attributes of what is in it as soon as it is listed.
  auto all_here = [&] {
    auto nodes = r.list_nodes(dir.ino, 0, 10'000);
    return nodes && std::ranges::all_of(*nodes, [](const Replica::ListedNode& n) { return n.here; });
  };
  const size_t then = objects();
  wait_until(all_here);
  ++in_a_row;
  EXPECT_LE(objects() - then, 4u);
  EXPECT_EQ(r.list_nodes(dir.ino, 0, 10'000).value().size(), kFiles);

  const StoreCounters counters = c.counters();
  std::cout << in_a_row << " requests in a row, " << objects() << " of hints and objects, " << counters.bytes_down
            << " bytes in all\n";
  EXPECT_LE(in_a_row, 5);
  EXPECT_LE(counters.bytes_down, uint64_t{4} << 20);
  // And so do the attributes of all directories.
  auto root_here = [&] {
    auto nodes = r.list_nodes(kRootIno, 0, 10'000);
    return nodes && std::ranges::all_of(*nodes, [](const Replica::ListedNode& n) { return n.here; });
  };
  EXPECT_TRUE(root_here());

  // The rest is sound, and comes with bounded memory of its own.
  ASSERT_OK(c.sync_engine().load_rest({}));
  EXPECT_EQ(c.problems(), "");
}

}  // namespace
}  // namespace coffer::test
