#include "base/failpoint.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace coffer {
namespace {

struct Armed {
  std::string action;
  long countdown = 0;                  // 0: every passing
  std::function<Result<void>()> call;  // instead of an action
};

struct Registry {
  std::mutex mutex;
  std::map<std::string, Armed, std::less<>> armed;
  std::atomic<bool> any{false};

  Registry() {
    if (const char* spec = std::getenv("COFFER_FAILPOINTS")) arm(spec);
  }

  void arm(std::string_view spec) {
    std::lock_guard lock(mutex);
    armed.clear();
    while (!spec.empty()) {
      std::string_view item = spec.substr(0, spec.find(','));
      spec.remove_prefix(std::min(spec.size(), item.size() + 1));
      size_t eq = item.find('=');
      if (eq == std::string_view::npos) continue;
      std::string_view action = item.substr(eq + 1);
      Armed a;
      size_t at = action.find('@');
      if (at != std::string_view::npos) {
        a.countdown = std::atol(std::string(action.substr(at + 1)).c_str());
        action = action.substr(0, at);
      }
      a.action = action;
      armed[std::string(item.substr(0, eq))] = a;
    }
    any = !armed.empty();
  }
};

Registry& registry() {
  static Registry r;
  return r;
}

}  // namespace

Result<void> failpoint(std::string_view name) {
  Registry& r = registry();
  if (!r.any.load(std::memory_order_relaxed)) return {};
  std::unique_lock lock(r.mutex);
  auto it = r.armed.find(name);
  if (it == r.armed.end()) return {};
  Armed& a = it->second;
  if (a.countdown < 0) return {};  // already fired
  if (a.countdown > 0) {
    if (--a.countdown > 0) return {};
    a.countdown = -1;
  }
  if (a.call) {
    auto call = a.call;
    lock.unlock();  // it may pass others
    return call();
  }
  if (a.action == "crash") {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  if (a.action == "enospc") return fail(Code::kNoSpace, "failpoint " + std::string(name));
  return fail(Code::kIo, "failpoint " + std::string(name));
}

void arm_failpoints(std::string_view spec) { registry().arm(spec); }

void arm_failpoint(std::string_view name, std::function<Result<void>()> what) {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  r.armed[std::string(name)].call = std::move(what);
  r.any = true;
}

}  // namespace coffer
