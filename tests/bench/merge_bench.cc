// How long a device takes that comes back with changes of its own to what others have changed meanwhile: N pending
// operations rebased on N remote ones, in one record. Prints; asserts nothing.
//   merge_bench [N]      default 100,000; the state directories go to the current directory
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "tests/bench/must.h"
#include "tests/cache/fixture.h"
#include "tests/replica/exchange.h"

namespace coffer {
namespace {

using model::kRootIno;
using SteadyClock = std::chrono::steady_clock;

// Prints how long the part since the last call took.
void lap(SteadyClock::time_point& since, const char* what) {
  auto now = SteadyClock::now();
  std::printf("%-60s %8.2f s\n", what, std::chrono::duration<double>(now - since).count());
  std::fflush(stdout);
  since = now;
}

constexpr int kPerDirectory = 1000;

// A quarter each: new files, contents of old ones, renames, and removals; the two sides meet in every eighth.
void work(Replica& r, const std::vector<Ino>& dirs, int operations, int side) {
  const Bytes content(100, static_cast<uint8_t>('a' + side));
  for (int i = 0; i < operations; ++i) {
    const Ino dir = dirs[static_cast<size_t>(i / kPerDirectory)];
    // The sides touch different halves of the files, but for every eighth operation.
    const std::string old = "f" + std::to_string(i % 8 == 0 ? i : 2 * i + side);
    auto node = r.lookup(dir, old);
    const int kind = node ? i / 8 % 4 : 0;
    if (kind == 0) {
      must(r.make(dir, "new" + std::to_string(i) + (i % 16 == 0 ? "" : std::to_string(side)),
                  {model::FileType::kRegular, 0644, 0, 0, 0, ""}));
    } else if (kind == 1) {
      must(r.write(node->ino, 0, content, false));
    } else if (kind == 2) {
      must(r.rename(dir, old, dir, "moved" + std::to_string(i) + std::to_string(side), model::RenameMode::kReplace));
    } else {
      must(r.unlink(dir, old));
      r.forget(node->ino);
    }
  }
}

// Works in a directory of its own all the time, and tells how long the longest operation has been on its way.
class Watcher {
 public:
  explicit Watcher(Replica& replica) : replica_(replica) {
    dir_ = must(replica.make(kRootIno, "watched", {model::FileType::kDirectory, 0755, 0, 0, 0, ""})).ino;
    thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
  }
  // Since it was called the last time.
  void lap(const char* what) {
    std::printf("   meanwhile, %s: longest look %.3f s, longest change %.3f s\n", what, look_.exchange(0) / 1e9,
                change_.exchange(0) / 1e9);
  }

 private:
  void work(const std::stop_token& stop) {
    auto note = [](std::atomic<int64_t>& longest, SteadyClock::time_point since) {
      const int64_t took = std::chrono::nanoseconds(SteadyClock::now() - since).count();
      longest = std::max(longest.load(), took);
    };
    for (int i = 0; !stop.stop_requested(); ++i) {
      auto since = SteadyClock::now();
      must(replica_.list(dir_, 0, 10));
      note(look_, since);
      since = SteadyClock::now();
      const std::string name = std::to_string(i % 100);
      if (i % 200 < 100)
        must(replica_.make(dir_, name, {model::FileType::kRegular, 0644, 0, 0, 0, ""}));
      else
        replica_.forget(must(replica_.unlink(dir_, name)).ino);
      note(change_, since);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  Replica& replica_;
  Ino dir_ = 0;
  std::atomic<int64_t> look_{0}, change_{0};
  std::jthread thread_;
};

int run(int operations) {
  test::TempDir dir_a, dir_b;
  test::TestVolume volume;
  auto a = must(volume.open(dir_a.path(), "a")), b = must(volume.open(dir_b.path(), "b"));
  auto since = SteadyClock::now();
  must(a->make_root());
  std::vector<Ino> dirs;
  for (int i = 0; i < operations; ++i) {
    if (i % kPerDirectory == 0)
      dirs.push_back(must(a->make(kRootIno, "d" + std::to_string(i / kPerDirectory),
                                  {model::FileType::kDirectory, 0755, 0, 0, 0, ""}))
                         .ino);
    must(a->make(dirs.back(), "f" + std::to_string(i), {model::FileType::kRegular, 0644, 0, 0, 0, ""}));
  }
  test::Exchange exchange;
  test::Packs packs;
  auto record = exchange.publish(*a, packs);
  test::Exchange::receive(*b, *record, packs);
  lap(since, "both begin with the same files");
  work(*a, dirs, operations, 0);
  lap(since, "operations on the first");
  work(*b, dirs, operations, 1);
  lap(since, "operations on the second, pending");
  packs.clear();
  record = exchange.publish(*a, packs);
  lap(since, "the first freezes, and publishes a record");
  // As if all were known to the kernel: it is asked of each that changes.
  size_t asked = 0;
  b->on_supersede([&asked](Ino, Ino) {
    ++asked;
    return false;
  });
  std::optional<Watcher> watcher(*b);
  test::Exchange::receive(*b, *record, packs);
  lap(since, "the second applies it, its pending operations on top");
  watcher->lap("on the second");
  packs.clear();
  record = exchange.publish(*b, packs);
  lap(since, "the second publishes");
  watcher->lap("on the second");
  const uint64_t line = record->stamp;
  must(b->set_stable(line));
  lap(since, "the second forgets how to undo that");
  watcher->lap("on the second");
  watcher.reset();
  test::Exchange::receive(*a, *record, packs);
  lap(since, "the first applies that");
  return must(b->find_faults()).empty() && must(a->find_faults()).empty() ? 0 : 1;
}

}  // namespace
}  // namespace coffer

int main(int argc, char** argv) { return coffer::run(argc > 1 ? std::atoi(argv[1]) : 100'000); }
