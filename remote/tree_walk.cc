#include "remote/tree_walk.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "base/thread.h"

namespace coffer {
namespace {

class Walk {
 public:
  Walk(const VisitCollection& visit, std::stop_token stop) : visit_(visit) {
    outside_.emplace(stop, std::function<void()>([this] { stop_.request_stop(); }));
  }

  void add(std::vector<std::string> collections) {
    MutexLock lock(mutex_);
    for (std::string& c : collections) to_do_.push_back(std::move(c));
    changed_.notify_all();
  }

  // Visits until there is nothing left to visit anywhere.
  void work() {
    for (;;) {
      std::string collection;
      {
        MutexLock lock(mutex_);
        while (to_do_.empty() && visiting_ > 0 && !error_) changed_.wait(mutex_);
        if (to_do_.empty() || error_) return;
        collection = std::move(to_do_.front());
        to_do_.pop_front();
        ++visiting_;
      }
      auto below = visit_(collection, stop_.get_token());
      if (below) add(*std::move(below));
      MutexLock lock(mutex_);
      --visiting_;
      if (!below && !error_) {
        error_ = below.error();
        stop_.request_stop();
      }
      changed_.notify_all();
    }
  }

  Result<void> outcome() {
    MutexLock lock(mutex_);
    if (error_) return fail(*error_);
    return {};
  }

 private:
  const VisitCollection& visit_;
  std::stop_source stop_;
  std::optional<std::stop_callback<std::function<void()>>> outside_;
  Mutex mutex_{Rank::kRemote};
  CondVar changed_;
  std::deque<std::string> to_do_ GUARDED_BY(mutex_);
  size_t visiting_ GUARDED_BY(mutex_) = 0;
  std::optional<Error> error_ GUARDED_BY(mutex_);
};

}  // namespace

Result<void> walk_tree(const std::string& root, unsigned threads, const VisitCollection& visit, std::stop_token stop) {
  // Most collections have none below: no thread is made for those.
  auto first = visit(root, stop);
  if (!first) return fail(first.error());
  if (first->empty()) return {};
  Walk walk(visit, stop);
  size_t helpers = std::min<size_t>(std::max(1U, threads), first->size()) - 1;
  walk.add(*std::move(first));
  std::vector<std::jthread> team;
  for (size_t i = 0; i < helpers; ++i) team.push_back(start_thread("store-list", [&walk] { walk.work(); }));
  walk.work();
  team.clear();
  return walk.outcome();
}

}  // namespace coffer
