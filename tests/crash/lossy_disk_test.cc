// Power loss at every write and sync point of a replica, LMDB's own included: a workload runs once under a trace, and after
// each event of it a disk is made that drops and tears what was not synced. A replica opened on that disk must have
// everything that was acknowledged, nothing that never was, and no fault.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include "base/fd.h"
#include "fs/replica/replica.h"
#include "tests/crash/disk_trace.h"
#include "tests/replica/exchange.h"

namespace coffer {
namespace {

using model::FileType;
using model::kRootIno;
using testing::TraceEvent;

// What a path held over time: state k is what it held after step k that touched it. A crash may show any state from the
// last acknowledged one on.
using Content = std::optional<Bytes>;  // nullopt: no such file
struct History {
  struct State {
    uint64_t step;
    Content content;
  };
  std::map<std::string, std::vector<State>> paths;

  void set(const std::string& path, uint64_t step, Content content) {
    paths[path].push_back({step, std::move(content)});
  }
  const Content& now(const std::string& path) const { return paths.at(path).back().content; }
};

constexpr auto kCommitEvery = std::chrono::milliseconds(20);

Result<std::unique_ptr<Replica>> open_replica(const test::TestVolume& volume, const std::string& dir) {
  Replica::Options options;
  options.device_name = "host";
  options.commit_every = kCommitEvery;
  return volume.open(dir, options);
}

class Workload {
 public:
  Workload(Replica& replica, unsigned seed) : replica_(replica), rng_(seed) {}

  // Marks: 2 * step when it begins, 2 * step + 1 when everything up to it is acknowledged.
  void run(uint64_t steps) {
    for (step_ = 1; step_ <= steps; ++step_) {
      testing::mark(2 * step_);
      std::string path = any_path();
      switch (rng_() % 14) {
        case 0:
          remove(path);
          break;
        case 1:
          rename_over(path);
          break;
        case 2:
          truncate(path);
          break;
        case 3:
          publish();
          break;
        case 4:
          link_and_unlink(path);
          break;
        case 5:
        case 6:
        case 7:
        case 8:  // little, synced, and then perhaps committed
          write(path, 1000);
          ok(replica_.sync_all(true));
          testing::mark(2 * step_ + 1);
          if (rng_() % 4 == 0) std::this_thread::sleep_for(2 * kCommitEvery);
          break;
        default:
          write(path);
          break;
      }
      if (rng_() % 3 == 0) {
        ok(replica_.sync_all(true));
        testing::mark(2 * step_ + 1);
      }
    }
  }
  History history;

 private:
  static void ok(const auto& result) { ASSERT_TRUE(result.has_value()) << result.error().what(); }

  std::string any_path() {
    const char* dirs[] = {"", "d0/", "d1/"};
    return dirs[rng_() % 3] + ("f" + std::to_string(rng_() % 4));
  }
  static std::string name_of(const std::string& path) { return path.substr(path.find('/') + 1); }
  // Of the path's directory, which is made when it is not there.
  Ino dir_of(const std::string& path) {
    size_t slash = path.find('/');
    if (slash == std::string::npos) return kRootIno;
    std::string dir = path.substr(0, slash);
    auto node = replica_.lookup(kRootIno, dir);
    if (!node) node = replica_.make(kRootIno, dir, {FileType::kDirectory, 0755, 0, 0, 0, ""});
    return node ? node->ino : 0;
  }
  Ino find(const std::string& path) {
    auto node = replica_.lookup(dir_of(path), name_of(path));
    return node ? node->ino : 0;
  }
  Ino find_or_make(const std::string& path) {
    if (Ino ino = find(path)) return ino;
    auto node = replica_.make(dir_of(path), name_of(path), {FileType::kRegular, 0644, 0, 0, 0, ""});
    history.set(path, step_, Bytes{});
    return node ? node->ino : 0;
  }
  void write(const std::string& path, size_t most = 40'000) {
    Ino ino = find_or_make(path);
    Bytes content = *history.now(path);
    size_t offset = rng_() % 3 == 0 ? content.size() : rng_() % 100'000, length = 1 + rng_() % most;
    Bytes data(length);
    for (auto& b : data) b = static_cast<uint8_t>(rng_());
    ok(replica_.write(ino, offset, data, false));
    if (content.size() < offset + length) content.resize(offset + length);
    std::copy(data.begin(), data.end(), content.begin() + static_cast<long>(offset));
    history.set(path, step_, content);
  }
  void truncate(const std::string& path) {
    Ino ino = find(path);
    if (ino == 0) return;
    // Seals first: what is written and what is cut off are two states.
    ok(replica_.sync_file(ino));
    Bytes content = *history.now(path);
    content.resize(rng_() % 100'000);
    ok(replica_.truncate(ino, content.size()));
    history.set(path, step_, content);
  }
  void remove(const std::string& path) {
    Ino ino = find(path);
    if (ino == 0) return;
    ok(replica_.unlink(dir_of(path), name_of(path)));
    replica_.forget(ino);
    history.set(path, step_, std::nullopt);
    if (path.find('/') == std::string::npos) return;
    // The directory goes as well when this was the last of it.
    auto gone = replica_.rmdir(kRootIno, path.substr(0, path.find('/')));
    if (gone) {
      replica_.forget(gone->ino);
    } else {
      ASSERT_EQ(gone.error().code(), Code::kNotEmpty) << gone.error().what();
    }
  }
  void rename_over(const std::string& path) {
    Ino ino = find(path);
    std::string to = any_path();
    if (ino == 0 || to == path) return;
    Ino replaced = find(to);
    if (replaced == 0)
      ok(replica_.sync_file(ino));  // else a crash may show what the file held before, under the new name
    ok(replica_.rename(dir_of(path), name_of(path), dir_of(to), name_of(to), model::RenameMode::kReplace));
    if (replaced != 0) replica_.forget(replaced);
    history.set(to, step_, history.now(path));
    history.set(path, step_, std::nullopt);
  }
  // In between, both names lead to it.
  void link_and_unlink(const std::string& path) {
    Ino ino = find(path);
    std::string to = any_path();
    if (ino == 0 || to == path || find(to) != 0) return;
    ok(replica_.sync_file(ino));
    ok(replica_.link(ino, dir_of(to), name_of(to)));
    ok(replica_.unlink(dir_of(path), name_of(path)));
    history.set(to, step_, history.now(path));
    history.set(path, step_, std::nullopt);
  }
  // A record without a store: packs completed, the record durable and acknowledged.
  void publish() {
    test::Packs packs;
    auto record = exchange_.publish(replica_, packs);
    if (!record) return;
    if (record->stamp % 2 == 0) ok(replica_.set_stable(record->stamp));
    testing::mark(2 * step_ + 1);  // publish() is durable, and so is everything before it
  }

  Replica& replica_;
  std::mt19937 rng_;
  uint64_t step_ = 0;
  test::Exchange exchange_;
};

// `acknowledged` and `begun`: the last step that a mark says so of.
void check_image(const test::TestVolume& volume, const std::string& dir, const History& history, uint64_t acknowledged,
                 uint64_t begun) {
  auto opened = open_replica(volume, dir);
  if (!opened && acknowledged == 0) return;  // the replica itself was not made durable yet
  ASSERT_TRUE(opened.has_value()) << opened.error().what();
  Replica& replica = **opened;
  auto has_root = replica.has_root();
  ASSERT_TRUE(has_root.has_value());
  if (!*has_root) {
    ASSERT_EQ(acknowledged, 0u) << "everything is gone";
    return;
  }
  for (const auto& [path, states] : history.paths) {
    size_t slash = path.find('/');
    auto node = replica.lookup(kRootIno, path.substr(0, slash));
    if (node && slash != std::string::npos) node = replica.lookup(node->ino, path.substr(slash + 1));
    Content seen;
    if (node) {
      auto inode = replica.attributes(node->ino);
      ASSERT_TRUE(inode.has_value());
      Bytes content(inode->size);
      if (!content.empty()) {
        auto read = replica.read(node->ino, 0, content);
        ASSERT_TRUE(read.has_value()) << path << ": " << read.error().what();
        ASSERT_TRUE(read->missing.empty()) << path << ": acknowledged bytes are missing";
      }
      seen = content;
    } else {
      ASSERT_EQ(node.error().code(), Code::kNotFound) << node.error().what();
    }
    bool allowed = false;
    bool settled = false;  // some state at or before the acknowledged step
    for (const auto& s : states) {
      if (s.step > begun) break;
      // The newest state that was acknowledged, and all later ones.
      bool superseded = std::any_of(states.begin(), states.end(), [&](const History::State& other) {
        return other.step <= acknowledged && &other > &s;
      });
      settled |= s.step <= acknowledged;
      if (!superseded && s.content == seen) allowed = true;
    }
    if (!settled && !seen) allowed = true;
    std::string known;
    for (const auto& s : states) {
      known += " " + std::to_string(s.step) + ":" + (s.content ? std::to_string(s.content->size()) : "none");
      if (s.content == seen) known += "=";
    }
    ASSERT_TRUE(allowed) << path
                         << " holds what it must not: " << (seen ? std::to_string(seen->size()) + " bytes" : "nothing")
                         << "; acknowledged step " << acknowledged << ", begun " << begun
                         << "; states by step:" << known;
  }
  auto faults = replica.find_faults();
  ASSERT_TRUE(faults.has_value()) << faults.error().what();
  for (const std::string& f : *faults) ADD_FAILURE() << f;
}

TEST(LossyDisk, EveryAcknowledgedStepSurvivesPowerLossAtAnyPoint) {
  const char* full = std::getenv("COFFER_TEST_FULL");
  const bool more = full && *full;
  const unsigned seeds = more ? 20 : 2, rounds = more ? 4 : 1;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    char name[] = "/dev/shm/coffer-lossy-XXXXXX";
    std::string base = ::mkdtemp(name);
    test::TestVolume volume;
    History history;
    std::filesystem::create_directories(base + "/live");
    testing::start_trace(base + "/live");
    {
      auto replica = open_replica(volume, base + "/live");
      ASSERT_TRUE(replica.has_value()) << replica.error().what();
      ASSERT_TRUE((*replica)->make_root().has_value());
      ASSERT_TRUE((*replica)->sync_all(true).has_value());
      testing::mark(1);
      Workload workload(**replica, seed);
      workload.run(120);
      history = std::move(workload.history);
    }
    std::vector<TraceEvent> events = testing::stop_trace();
    std::mt19937_64 rng(seed);
    std::printf("seed %u: %zu points of power loss\n", seed, rounds * events.size());
    for (size_t i = 0; i < rounds * events.size(); ++i) {
      const size_t count = i % events.size() + 1;
      uint64_t acknowledged = 0, begun = 0;
      for (size_t k = 0; k < count; ++k) {
        if (events[k].kind != TraceEvent::Kind::kMark) continue;
        if (events[k].offset % 2 == 0)
          begun = events[k].offset / 2;
        else
          acknowledged = events[k].offset / 2;
      }
      SCOPED_TRACE("image " + std::to_string(i) + ", after event " + std::to_string(count) + " of " +
                   std::to_string(events.size()));
      std::string image = base + "/image";
      testing::make_crash_image(events, count, rng, image);
      check_image(volume, image, history, acknowledged, begun);
      if (::testing::Test::HasFailure()) {  // leaves the image to look at, with the events that led to it
        std::string text;
        for (size_t k = 0; k < events.size(); ++k)
          text += std::to_string(k) + " " + testing::describe(events[k]) + "\n";
        (void)write_file_durably(base + "/events", as_bytes(text));
        GTEST_FAIL() << "see " << base;
      }
      std::filesystem::remove_all(image);
    }
    std::filesystem::remove_all(base);
  }
}

// An fsync makes its own file durable, and not what others stream meanwhile: that comes later, or is as if it had not been
// written, and never takes along what was acknowledged.
TEST(LossyDisk, AnAcknowledgedFileSurvivesBesideAStreamThatDoesNot) {
  constexpr size_t kMebibyte = 1 << 20;
  char name[] = "/dev/shm/coffer-lossy-XXXXXX";
  const std::string base = ::mkdtemp(name);
  test::TestVolume volume;
  History synced, streamed;
  std::filesystem::create_directories(base + "/live");
  testing::start_trace(base + "/live");
  {
    auto replica = open_replica(volume, base + "/live");
    ASSERT_TRUE(replica.has_value()) << replica.error().what();
    Replica& r = **replica;
    ASSERT_TRUE(r.make_root().has_value());
    Ino inos[2];
    for (int i = 0; i < 2; ++i) {
      auto node = r.make(kRootIno, i == 0 ? "note" : "stream", {FileType::kRegular, 0644, 0, 0, 0, ""});
      ASSERT_TRUE(node.has_value());
      inos[i] = node->ino;
    }
    synced.set("note", 1, Bytes{});
    streamed.set("stream", 1, Bytes{});
    ASSERT_TRUE(r.sync_all(true).has_value());
    testing::mark(3);
    std::mt19937 rng(1);
    for (uint64_t step = 2; step < 20; ++step) {
      testing::mark(2 * step);
      // It compresses to nothing, so that images are made fast.
      Bytes piece(kMebibyte, static_cast<uint8_t>(step)), note(500);
      ASSERT_TRUE(r.write(inos[1], 0, piece, false).has_value());
      streamed.set("stream", step, piece);
      // To read it names what was sealed.
      if (step % 3 == 0) {
        ASSERT_TRUE(r.read(inos[1], 0, MutableBytes(piece)).has_value());
      }
      for (auto& b : note) b = static_cast<uint8_t>(rng());
      ASSERT_TRUE(r.write(inos[0], 0, note, false).has_value());
      synced.set("note", step, note);
      ASSERT_TRUE(r.sync_file(inos[0]).has_value());
      testing::mark(2 * step + 1);
      if (step % 6 == 0) std::this_thread::sleep_for(2 * kCommitEvery);
    }
  }
  const std::vector<TraceEvent> events = testing::stop_trace();
  std::mt19937_64 rng(1);
  std::printf("%zu points of power loss\n", events.size());
  uint64_t acknowledged = 0, begun = 0;
  for (size_t count = 1; count <= events.size(); ++count) {
    const TraceEvent& last = events[count - 1];
    if (last.kind == TraceEvent::Kind::kMark) (last.offset % 2 == 0 ? begun : acknowledged) = last.offset / 2;
    if (acknowledged == 0) continue;
    SCOPED_TRACE("after event " + std::to_string(count) + " of " + std::to_string(events.size()));
    const std::string image = base + "/image";
    testing::make_crash_image(events, count, rng, image);
    check_image(volume, image, synced, acknowledged, std::max(begun, acknowledged));
    check_image(volume, image, streamed, 1, std::max(begun, acknowledged));
    ASSERT_FALSE(::testing::Test::HasFailure()) << "see " << base;
    std::filesystem::remove_all(image);
  }
  std::filesystem::remove_all(base);
}

}  // namespace
}  // namespace coffer
