// Without libFuzzer: runs a target on every file of its corpus, and on mutations of them, the same ones each time.
// usage: TARGET FILE-OR-DIRECTORY...
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/fd.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using coffer::Bytes;

constexpr size_t kMutations = 4000;  // in all
constexpr size_t kInputMax = 64 << 10;

// What is being run, for the signal handler to leave behind.
const Bytes* current = nullptr;

void leave_input(int signal) {
  constexpr char kFile[] = "crashing-input";
  int fd = ::open(kFile, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd >= 0 && current != nullptr) {
    size_t done = 0;
    while (done < current->size()) {
      ssize_t n = ::write(fd, current->data() + done, current->size() - done);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
  }
  constexpr char kText[] = "the input is in the file crashing-input, in the current directory\n";
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void run_on(const Bytes& input) {
  Bytes exact(input.begin(), input.end());  // its own allocation, for AddressSanitizer
  current = &exact;
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  current = nullptr;
}

class Mutator {
 public:
  explicit Mutator(const std::vector<Bytes>& seeds) : seeds_(seeds) {}

  Bytes mutate(const Bytes& seed) {
    Bytes b = seed;
    for (size_t n = 1 + below(4); n > 0; --n) step(b);
    if (b.size() > kInputMax) b.resize(kInputMax);
    return b;
  }

 private:
  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }
  void step(Bytes& b) {
    auto at = [&b](size_t i) { return b.begin() + static_cast<ptrdiff_t>(i); };
    if (b.empty()) return b.push_back(static_cast<uint8_t>(random_()));
    size_t i = below(b.size());
    switch (below(7)) {
      case 0:
        b[i] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 1: {
        constexpr uint8_t kTelling[] = {0, 1, 2, 0x7f, 0x80, 0xff, '<', '"', '\\', '/', '\n', ' '};
        b[i] = kTelling[below(std::size(kTelling))];
        break;
      }
      case 2:
        b.resize(i);
        break;
      case 3:
        b.insert(at(i), 1 + below(8), static_cast<uint8_t>(random_()));
        break;
      case 4:
        b.erase(at(i), at(i + 1 + below(std::min<size_t>(b.size() - i, 16))));
        break;
      case 5: {  // a piece of itself, again
        Bytes piece(at(i), at(i + 1 + below(std::min<size_t>(b.size() - i, 64))));
        b.insert(at(below(b.size())), piece.begin(), piece.end());
        break;
      }
      default: {  // goes on as another seed
        const Bytes& other = seeds_[below(seeds_.size())];
        if (other.empty()) break;
        b.resize(i);
        b.insert(b.end(), other.begin() + static_cast<ptrdiff_t>(below(other.size())), other.end());
      }
    }
  }

  const std::vector<Bytes>& seeds_;
  std::mt19937_64 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
  for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal, leave_input);
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      paths.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> seeds;
  for (const std::string& path : paths) seeds.push_back(coffer::fuzz::must(coffer::read_file(path, 16 << 20)));
  if (seeds.empty()) {
    std::fprintf(stderr, "usage: %s FILE-OR-DIRECTORY..., with at least one file\n", argv[0]);
    return 2;
  }
  run_on({});
  for (const Bytes& seed : seeds) run_on(seed);
  Mutator mutator(seeds);
  for (size_t i = 0; i < kMutations; ++i) run_on(mutator.mutate(seeds[i % seeds.size()]));
  std::printf("%zu inputs and %zu mutations\n", seeds.size(), kMutations);
  return 0;
}
