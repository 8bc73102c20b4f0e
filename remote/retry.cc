#include "remote/retry.h"

#include <algorithm>
#include <random>

#include "remote/wait.h"

namespace coffer {

RetryEnvironment RetryEnvironment::system() {
  RetryEnvironment environment;
  environment.random = [] {
    thread_local std::minstd_rand rng(std::random_device{}());  // spreads clients apart; nothing secret
    return static_cast<double>(rng() - std::minstd_rand::min()) /
           static_cast<double>(std::minstd_rand::max() - std::minstd_rand::min() + 1.0);
  };
  environment.sleep = [](Nanos duration, std::stop_token stop) { return wait_for(duration, std::move(stop)); };
  return environment;
}

RetrySchedule::RetrySchedule(const RetryPolicy& policy, const RetryEnvironment& environment)
    : policy_(policy), environment_(environment), begin_(environment.clock->monotonic()) {}

std::optional<Nanos> RetrySchedule::next(std::optional<Nanos> retry_after) {
  if (++attempts_ >= policy_.attempts) return std::nullopt;
  Nanos step = policy_.first;
  for (unsigned i = 1; i < attempts_ && step < policy_.longest; ++i) step *= 2;
  step = std::min(step, policy_.longest);
  Nanos wait(static_cast<int64_t>(static_cast<double>(step.count()) * (0.5 + environment_.random() / 2)));
  if (retry_after) wait = std::max(wait, *retry_after);
  Nanos elapsed = environment_.clock->monotonic() - begin_;
  if (wait > policy_.total || elapsed > policy_.total - wait) return std::nullopt;
  return wait;
}

}  // namespace coffer
