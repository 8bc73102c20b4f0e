// A volume's replica, mounted for real in this process, and another one to get news from.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/mutex.h"
#include "fs/fuse/mount.h"
#include "tests/cache/fixture.h"
#include "tests/replica/exchange.h"

namespace coffer {

using test::Packs;
using test::TempDir;
using test::TestVolume;

// A store whose bytes come when the test says so. Thread-safe.
class FakeFetcher : public Fetcher {
 public:
  // The packs that it has for `replica`. Before serve(), fetches wait.
  void serve(Replica& replica, Packs packs);
  void fail(Code code);  // all that wait, and all that come
  size_t waiting() const;
  ~FakeFetcher() override;

  void fetch(std::vector<Missing> missing, std::stop_token stop, std::function<void(Result<void>)> done) override;
  // Parts come when the test puts them into the replica, and then answers all who wait.
  void fetch_parts(std::set<size_t> parts, std::stop_token stop, std::function<void(Result<void>)> done) override;
  std::set<size_t> parts_wanted() const;
  void answer_parts(const Result<void>& outcome);

 private:
  using OnStop = std::unique_ptr<std::stop_callback<std::function<void()>>>;
  struct Request {
    std::vector<Missing> missing;
    std::function<void(Result<void>)> done;
    OnStop stop;
  };
  void answer();
  Result<void> store(const std::vector<Missing>& missing);

  mutable Mutex mutex_{Rank::kRemote};
  std::map<uint64_t, Request> requests_ GUARDED_BY(mutex_);
  std::vector<OnStop> spent_ GUARDED_BY(mutex_);  // cannot go while it may be running
  uint64_t next_ GUARDED_BY(mutex_) = 0;
  Replica* replica_ GUARDED_BY(mutex_) = nullptr;
  Packs packs_ GUARDED_BY(mutex_);
  std::optional<Code> failure_ GUARDED_BY(mutex_);
  std::vector<std::thread> answering_ GUARDED_BY(mutex_);
  std::set<size_t> parts_wanted_ GUARDED_BY(mutex_);
  std::vector<std::pair<std::stop_token, std::function<void(Result<void>)>>> parts_ GUARDED_BY(mutex_);
};

// Opens a replica of the volume, which must work.
std::unique_ptr<Replica> open_replica(const TestVolume& volume, const std::string& directory,
                                      const std::string& device);

// One order for all replicas of the program.
test::Exchange& exchange();

// A fresh volume with an empty root, mounted on a directory until the end of the test.
class Mounted {
 public:
  explicit Mounted(const std::function<void(MountOptions&)>& change = {});
  ~Mounted();

  const std::string& root() const { return directory_.path(); }
  std::string path(const std::string& name) const { return root() + "/" + name; }
  Replica& replica() { return *replica_; }
  FakeFetcher& fetcher() { return fetcher_; }
  Mount& mount() { return *mount_; }
  TestVolume& volume() { return volume_; }
  // Calls of one operation so far, or of all that somebody waits for (all but forget).
  uint64_t calls(const std::string& operation) const;
  uint64_t waiting_calls() const;
  // Unmounts, reopens the replica, mounts again: nothing is left in the kernel.
  void remount();
  // Pushes what is cached out of the kernel (dentries, inodes, pages).
  static void drop_caches();
  // A second machine, which has everything that this one had at the time.
  std::unique_ptr<Replica> another_machine(const std::string& directory);
  // What the other one did comes here.
  void news_from(Replica& other, bool with_packs = true);

 private:
  void start();
  void stop();

  std::function<void(MountOptions&)> change_;
  TempDir state_, directory_;
  TestVolume volume_;
  FakeFetcher fetcher_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Mount> mount_;
  std::thread server_;
};

// Tries again until it is true; false after some seconds. For what another thread does in its own time.
bool eventually(const std::function<bool()>& condition);

// Runs in a process of its own, and gives what it returns (below 99; -1 when it did not end by itself). Whatever maps files
// of the mount must do it there: the kernel writes a mapping back while it holds the lock of the whole address space, and
// the threads that serve the mount need that lock.
int in_child(const std::function<int()>& body);

std::string read_text(const std::string& path);  // "" when it cannot be read
void write_text(const std::string& path, std::string_view text);
Bytes pattern(uint64_t seed, size_t size);

}  // namespace coffer
