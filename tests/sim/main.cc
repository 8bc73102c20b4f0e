// Simulates clusters of machines, one for each seed: see scheduler.h, world.h.
//
//   coffer_sim --seeds A..B            runs them, and names those that fail; exit status 1 when one did
//   coffer_sim --seed N --trace        what happens in one
//   coffer_sim --seed N --shrink       leaves out as much as it can while the seed still fails
//   coffer_sim --same A..B             runs each twice, and compares
//   --without clone,restore            of what is in kSwitches (world.h); --machines N and --bursts N: at most so many
//
// Each seed has a process of its own, which may end as badly as it likes.
#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>

#include "tests/sim/world.h"

namespace coffer::sim {
namespace {

constexpr time_t kMostSeconds = 20;  // of computing, for one seed

struct Outcome {
  bool passed = false;
  std::string text;
};

Outcome run(const Options& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (!options.trace) dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    if (options.trace) dup2(STDOUT_FILENO, STDERR_FILENO);
    signal(SIGPROF, [](int) {
      const Scheduler& s = *Scheduler::current();
      give_up("computes for too long; at " + std::to_string(s.now().count() / 1'000'000'000 % 100'000'000) + " s:\n" +
              s.describe());
    });
    const itimerval limit{{0, 0}, {kMostSeconds, 0}};
    setitimer(ITIMER_PROF, &limit, nullptr);
    std::printf("%s\n", run_seed(options).c_str());
    std::fflush(stdout);
    _exit(0);
  }
  ::close(ends[1]);
  Outcome outcome;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) outcome.text.append(buffer, static_cast<size_t>(n));
  ::close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  outcome.passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (WIFSIGNALED(status)) outcome.text += "FAILED: signal " + std::to_string(WTERMSIG(status)) + "\n";
  std::error_code ignored;
  std::filesystem::remove_all("/dev/shm/coffer-sim-" + std::to_string(getpid()), ignored);
  return outcome;
}

std::string flags(const Options& options) {
  std::string out = "--seed " + std::to_string(options.seed) + " --machines " + std::to_string(options.machines) +
                    " --bursts " + std::to_string(options.bursts);
  std::string list;
  for (const std::string& what : options.without) list += (list.empty() ? "" : ",") + what;
  return list.empty() ? out : out + " --without " + list;
}

// What sort of failure it is: its first line, without numbers and names.
std::string kind(const Outcome& outcome) {
  if (outcome.passed) return "";
  size_t at = outcome.text.find("FAILED: ");
  std::string line = at == std::string::npos ? outcome.text : outcome.text.substr(at, outcome.text.find('\n', at) - at);
  std::string out;
  for (char c : line.substr(0, 120))
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 && std::isxdigit(static_cast<unsigned char>(c)) == 0) out += c;
  return out;
}

void shrink(Options options) {
  options.trace = false;
  const std::string wanted = kind(run(options));
  if (wanted.empty()) {
    std::printf("seed %llu does not fail\n", static_cast<unsigned long long>(options.seed));
    return;
  }
  auto still = [&](const Options& smaller) { return kind(run(smaller)) == wanted; };
  for (bool better = true; better;) {
    better = false;
    auto take = [&](const Options& smaller) {
      if (!still(smaller)) return;
      options = smaller;
      better = true;
      std::printf("fails: %s\n", flags(options).c_str());
      std::fflush(stdout);
    };
    for (std::string_view what : kSwitches) {
      if (!options.has(std::string(what))) continue;
      Options smaller = options;
      smaller.without.insert(std::string(what));
      take(smaller);
    }
    for (unsigned Options::*count : {&Options::machines, &Options::bursts}) {
      for (unsigned less : {options.*count / 2, options.*count - 1}) {
        if (less < 2 || less >= options.*count) continue;
        Options smaller = options;
        smaller.*count = less;
        take(smaller);
      }
    }
  }
  std::printf("%s", run(options).text.c_str());
}

int usage() {
  std::fprintf(stderr,
               "usage: coffer_sim --seeds A..B | --seed N [--trace | --shrink] | --same A..B\n"
               "                  [--without WHAT,...] [--machines N] [--bursts N]\n");
  return 2;
}

int main(int argc, char** argv) {
  Options options;
  uint64_t first = 1, last = 0;
  bool same = false, smallest = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--trace") {
      options.trace = true;
    } else if (flag == "--shrink") {
      smallest = true;
    } else if (i + 1 == argc) {
      return usage();
    } else if (const std::string value = argv[++i]; flag == "--seed") {
      first = last = std::strtoull(value.c_str(), nullptr, 10);
    } else if (flag == "--seeds" || flag == "--same") {
      same = flag == "--same";
      const size_t dots = value.find("..");
      if (dots == std::string::npos) return usage();
      first = std::strtoull(value.c_str(), nullptr, 10);
      last = std::strtoull(value.c_str() + dots + 2, nullptr, 10);
    } else if (flag == "--without") {
      for (size_t at = 0; at < value.size();) {
        const size_t end = std::min(value.find(',', at), value.size());
        const std::string what = value.substr(at, end - at);
        if (std::find(std::begin(kSwitches), std::end(kSwitches), what) == std::end(kSwitches)) return usage();
        options.without.insert(what);
        at = end + 1;
      }
    } else if (flag == "--machines") {
      options.machines = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
    } else if (flag == "--bursts") {
      options.bursts = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 10));
    } else {
      return usage();
    }
  }
  if (first > last) return usage();
  if (smallest) {
    options.seed = first;
    shrink(options);
    return 1;
  }
  uint64_t failed = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    options.seed = seed;
    Outcome outcome = run(options);
    if (same) {
      // Whether it fails is not the question.
      outcome.passed = run(options).text == outcome.text;
      if (!outcome.passed) outcome.text += "FAILED: the second run differs\n";
    }
    if (!outcome.passed) ++failed;
    if (!outcome.passed || first == last)
      std::printf("%s%s", outcome.text.c_str(), outcome.passed ? "" : (flags(options) + "\n\n").c_str());
    std::fflush(stdout);
  }
  std::printf("%llu seeds, %llu failed\n", static_cast<unsigned long long>(last - first + 1),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace coffer::sim

int main(int argc, char** argv) { return coffer::sim::main(argc, argv); }
