#include "fs/replica/local_space.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/log.h"

namespace coffer {
namespace {

constexpr uint64_t kMostFree = uint64_t{4} << 30;
constexpr uint64_t kMostReserve = 128 << 20;
constexpr uint64_t kMostMargin = 16 << 20;
constexpr int64_t kLookEvery = 16 << 20;   // bytes of writers, at most; others use the disk too
constexpr int64_t kPerCall = 1024;         // rows and journal of one change
constexpr uint64_t kEvictAhead = 8 << 20;  // more than needed, so that it is seldom needed
constexpr int kSlowFactor = 4;             // margins: with less than this free, writers are slowed down
constexpr auto kSlow = std::chrono::milliseconds(20);
constexpr Nanos kTryAgain = std::chrono::seconds(1);  // when there was not enough to evict
constexpr uint64_t kWorthTrying = 4 << 20;            // unless so much came since

}  // namespace

Result<SpaceLimits> usual_space_limits(const std::string& directory) {
  struct statvfs space;
  if (::statvfs(directory.c_str(), &space) != 0) return fail(errno_error(directory, errno));
  const uint64_t total = uint64_t{space.f_blocks} * space.f_frsize;
  return SpaceLimits{0, std::min(kMostFree, total / 20), std::min(kMostReserve, total / 32)};
}

Result<std::unique_ptr<LocalSpace>> LocalSpace::open(const std::string& directory, PackStore& packs,
                                                     const SpaceLimits& limits, Backend backend) {
  std::unique_ptr<LocalSpace> space(new LocalSpace(directory, packs, limits, std::move(backend)));
  MutexLock lock(space->mutex_);
  TRY(space->reserve_, SpaceReserve::open(directory + "/reserve", limits.reserve));
  space->restore_reserve();
  return space;
}

Result<void> LocalSpace::admit(uint64_t bytes) {
  if (limits_.reserve == 0) return {};
  const int64_t cost = static_cast<int64_t>(bytes + bytes / 64) + kPerCall;  // sealed, it is a little more
  if (credit_.fetch_sub(cost) >= cost) return {};
  return look(cost);
}

Result<void> LocalSpace::look(int64_t bytes) {
  bool slow;
  {
    MutexLock lock(mutex_);
    auto spare = [&]() NO_THREAD_SAFETY_ANALYSIS {
      return room() - static_cast<int64_t>(margin() + backend_.bytes_in_memory());
    };
    int64_t left = spare();
    if (left < bytes && evict(static_cast<uint64_t>(bytes - left) + kEvictAhead) > 0) left = spare();
    if (left < bytes) {
      credit_ = 0;
      return fail(Code::kNoSpace, "the disk with the state directory is full");
    }
    credit_ = std::min((left - bytes) / 2, kLookEvery);
    slow = left < kSlowFactor * static_cast<int64_t>(margin()) && backend_.unsent_bytes() > 0;
  }
  if (slow) std::this_thread::sleep_for(kSlow);
  return {};
}

void LocalSpace::admit_fetched(uint64_t bytes) {
  if (limits_.cache == 0 && limits_.free == 0) return;
  may_go_since_ += bytes;
  MutexLock lock(mutex_);
  keep_limits(bytes);
}

void LocalSpace::tidy() {
  MutexLock lock(mutex_);
  keep_limits(0);
  if (limits_.reserve > 0) restore_reserve();
}

void LocalSpace::restore_reserve() {
  const int64_t left = room();
  if (reserve_.missing() > 0 && left >= static_cast<int64_t>(margin())) {
    // Somebody else may be faster; then it is tried again.
    if (auto taken = reserve_.take(); !taken && taken.error().code() != Code::kNoSpace)
      log_line(LogLevel::kWarning, taken.error().what());
  }
  full_ = reserve_.missing() > 0 || left < static_cast<int64_t>(margin() / 2);
}

void LocalSpace::more_may_go(uint64_t bytes) { may_go_since_ += bytes; }

bool LocalSpace::give_up_reserve() {
  MutexLock lock(mutex_);
  credit_ = 0;
  if (!reserve_.give_up()) return room() + static_cast<int64_t>(reserve_.missing()) > 0;
  full_ = true;
  log_line(LogLevel::kWarning, "the disk with the state directory is full");
  return true;
}

uint64_t LocalSpace::margin() const { return std::min(kMostMargin, limits_.reserve / 2); }

int64_t LocalSpace::room() const {
  struct statvfs space;
  if (::statvfs(directory_.c_str(), &space) != 0) return INT64_MAX / 2;  // then the disk itself will tell
  return static_cast<int64_t>(uint64_t{space.f_bavail} * space.f_frsize) - static_cast<int64_t>(reserve_.missing());
}

void LocalSpace::keep_limits(uint64_t more) {
  if (limits_.cache > 0) {
    const uint64_t used = packs_.disk_bytes(), unsent = std::min(used, backend_.unsent_bytes());
    const uint64_t budget = std::max(limits_.cache - std::min(limits_.cache, unsent), limits_.cache / 4);
    if (used - unsent + more > budget) evict(used - unsent + more - budget + limits_.cache / 16);
  }
  if (limits_.free > 0) {
    const int64_t left = room() - static_cast<int64_t>(more), wanted = static_cast<int64_t>(limits_.free);
    if (left < wanted) evict(static_cast<uint64_t>(wanted - left) + kEvictAhead);
  }
}

uint64_t LocalSpace::evict(uint64_t bytes) {
  const Nanos now = backend_.clock->monotonic();
  const uint64_t worth = limits_.cache > 0 ? std::min(kWorthTrying, limits_.cache / 32) : kWorthTrying;
  if (now < fruitless_until_ && may_go_since_.load() < worth) return 0;
  may_go_since_ = 0;
  const uint64_t freed = packs_.evict(bytes, backend_.may_go);
  fruitless_until_ = freed < bytes ? now + kTryAgain : Nanos(0);
  return freed;
}

}  // namespace coffer
