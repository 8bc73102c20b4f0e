#include "fs/fuse/write_turns.h"

#include <cstdlib>
#include <cstring>
#include <utility>

namespace coffer::fuse {

WriteTurns::~WriteTurns() {
  for (void* buffer : spare_) std::free(buffer);
}

void WriteTurns::take(uint64_t file, Request& request) {
  const Turn turn = begin(file, request);
  if (turn == Turn::kLeft) return;
  ActiveWrites::Scope active(active_);
  process_(request);
  if (turn == Turn::kNone) return;
  for (Request more = next(file); more.memory != nullptr; more = next(file)) {
    process_(more);
    recycle(more);
  }
}

WriteTurns::Turn WriteTurns::begin(uint64_t file, Request& request) {
  MutexLock lock(mutex_);
  auto [at, nobody] = waiting_.try_emplace(file);
  if (nobody) return Turn::kOurs;
  if (bytes_ + request.size > kMostWaiting) return Turn::kNone;
  Request left = request;
  if (request.size <= kSmall) {
    left.memory = std::malloc(request.size);
    if (left.memory == nullptr) return Turn::kNone;
    std::memcpy(left.memory, request.memory, request.size);
  } else {
    request.memory = nullptr;
    if (!spare_.empty()) {
      request.memory = spare_.back();
      spare_.pop_back();
    }
  }
  at->second.push_back(left);
  bytes_ += left.size;
  return Turn::kLeft;
}

WriteTurns::Request WriteTurns::next(uint64_t file) {
  MutexLock lock(mutex_);
  auto at = waiting_.find(file);
  if (at->second.empty()) {
    waiting_.erase(at);
    return {};
  }
  Request request = at->second.front();
  at->second.pop_front();
  bytes_ -= request.size;
  return request;
}

void WriteTurns::recycle(Request request) {
  if (request.size > kSmall) {
    MutexLock lock(mutex_);
    if (spare_.size() < kSpare) {
      spare_.push_back(request.memory);
      return;
    }
  }
  std::free(request.memory);
}

}  // namespace coffer::fuse
