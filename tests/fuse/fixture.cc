#include "tests/fuse/fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>
#include <sstream>

#include "crypto/random.h"

namespace coffer {

std::unique_ptr<Replica> open_replica(const TestVolume& volume, const std::string& directory,
                                      const std::string& device) {
  auto replica = volume.open(directory, device);
  EXPECT_TRUE(replica.has_value()) << replica.error().what();
  return std::move(*replica);
}

test::Exchange& exchange() {
  static test::Exchange all;
  return all;
}

FakeFetcher::~FakeFetcher() {
  fail(Code::kUnavailable);
  answer_parts(coffer::fail(Code::kUnavailable, "the end"));
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    threads.swap(answering_);
  }
  for (auto& t : threads) t.join();
}

void FakeFetcher::serve(Replica& replica, Packs packs) {
  MutexLock lock(mutex_);
  replica_ = &replica;
  packs_ = std::move(packs);
  failure_.reset();
  answering_.emplace_back([this] { answer(); });
}

void FakeFetcher::fail(Code code) {
  MutexLock lock(mutex_);
  failure_ = code;
  replica_ = nullptr;
  answering_.emplace_back([this] { answer(); });
}

size_t FakeFetcher::waiting() const {
  MutexLock lock(mutex_);
  return requests_.size();
}

void FakeFetcher::fetch(std::vector<Missing> missing, std::stop_token stop, std::function<void(Result<void>)> done) {
  uint64_t id = 0;
  {
    MutexLock lock(mutex_);
    id = next_++;
    requests_[id] = {std::move(missing), std::move(done), nullptr};
    if (replica_ || failure_) answering_.emplace_back([this] { answer(); });
  }
  auto on_stop = std::make_unique<std::stop_callback<std::function<void()>>>(stop, [this, id] {
    std::function<void(Result<void>)> cancelled;
    {
      MutexLock lock(mutex_);
      auto it = requests_.find(id);
      if (it == requests_.end()) return;
      cancelled = std::move(it->second.done);
      spent_.push_back(std::move(it->second.stop));  // we are inside of it
      requests_.erase(it);
    }
    cancelled(coffer::fail(Code::kCancelled, "stopped"));
  });
  MutexLock lock(mutex_);
  auto it = requests_.find(id);
  if (it != requests_.end())
    it->second.stop = std::move(on_stop);
  else
    spent_.push_back(std::move(on_stop));
}

void FakeFetcher::fetch_parts(std::set<size_t> parts, std::stop_token stop, std::function<void(Result<void>)> done) {
  MutexLock lock(mutex_);
  parts_wanted_.merge(parts);
  parts_.emplace_back(std::move(stop), std::move(done));
}

std::set<size_t> FakeFetcher::parts_wanted() const {
  MutexLock lock(mutex_);
  return parts_wanted_;
}

void FakeFetcher::answer_parts(const Result<void>& outcome) {
  std::vector<std::pair<std::stop_token, std::function<void(Result<void>)>>> waiting;
  {
    MutexLock lock(mutex_);
    waiting.swap(parts_);
    parts_wanted_.clear();
  }
  for (auto& [stop, done] : waiting)
    done(stop.stop_requested() ? Result<void>(coffer::fail(Code::kCancelled, "stopped")) : outcome);
}

Result<void> FakeFetcher::store(const std::vector<Missing>& missing) {
  Replica* replica = nullptr;
  Packs packs;
  {
    MutexLock lock(mutex_);
    if (failure_) return coffer::fail(*failure_, "told to fail");
    replica = replica_;
    packs = packs_;
  }
  for (const Missing& m : missing) {
    for (const auto& [id, bytes] : packs) {
      if (id != m.extent.frame.pack) continue;
      TRYV(replica->packs().store_range(id, 0, bytes));
    }
  }
  return {};
}

void FakeFetcher::answer() {
  for (;;) {
    Request request;
    {
      MutexLock lock(mutex_);
      if (requests_.empty()) return;
      request = std::move(requests_.begin()->second);
      requests_.erase(requests_.begin());
    }
    request.stop.reset();
    request.done(store(request.missing));
  }
}

Mounted::Mounted(const std::function<void(MountOptions&)>& change) : change_(change) {
  replica_ = open_replica(volume_, state_.path(), "here");
  EXPECT_TRUE(replica_->make_root().has_value());
  start();
}

Mounted::~Mounted() { stop(); }

void Mounted::start() {
  MountOptions options;
  options.place.directory = root();
  options.place.source = "coffer:test";
  options.state_directory = state_.path();
  options.place.allow_other = true;
  if (change_) change_(options);
  auto mounted = Mount::mount(*replica_, fetcher_, options);
  ASSERT_TRUE(mounted.has_value()) << mounted.error().what();
  mount_ = std::move(*mounted);
  server_ = std::thread([this] {
    auto served = mount_->serve();
    EXPECT_TRUE(served.has_value()) << served.error().what();
  });
}

void Mounted::stop() {
  if (!mount_) return;
  auto unmounted = mount_->unmount(false);
  if (!unmounted) {
    ADD_FAILURE() << unmounted.error().what();
    EXPECT_TRUE(mount_->unmount(true).has_value());
  }
  server_.join();
  mount_.reset();
}

void Mounted::remount() {
  stop();
  EXPECT_TRUE(replica_->close().has_value());
  replica_.reset();
  replica_ = open_replica(volume_, state_.path(), "here");
  start();
}

void Mounted::drop_caches() {
  ::sync();
  std::ofstream("/proc/sys/vm/drop_caches") << "3";
}

uint64_t Mounted::calls(const std::string& operation) const {
  for (const UpcallCount& c : mount_->upcalls())
    if (c.operation == operation) return c.calls;
  return 0;
}

uint64_t Mounted::waiting_calls() const {
  uint64_t n = 0;
  for (const UpcallCount& c : mount_->upcalls())
    if (c.operation != "forget") n += c.calls;
  return n;
}

std::unique_ptr<Replica> Mounted::another_machine(const std::string& directory) {
  Packs packs;
  auto record = exchange().publish(*replica_, packs);
  auto other = open_replica(volume_, directory, "there");
  if (record) test::Exchange::receive(*other, *record, packs);
  return other;
}

void Mounted::news_from(Replica& other, bool with_packs) {
  Packs packs;
  auto record = exchange().publish(other, packs);
  ASSERT_TRUE(record.has_value());
  test::Exchange::receive(*replica_, *record, packs, with_packs);
  if (!with_packs) fetcher_.serve(*replica_, std::move(packs));
}

bool eventually(const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

int in_child(const std::function<int()>& body) {
  pid_t pid = ::fork();
  if (pid == 0) _exit(body());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write_text(const std::string& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  out.close();
  EXPECT_TRUE(out.good()) << path;
}

Bytes pattern(uint64_t seed, size_t size) {
  std::mt19937_64 rng(seed);
  Bytes out(size);
  for (auto& b : out) b = static_cast<uint8_t>(rng());
  return out;
}

}  // namespace coffer
