// What the kernel asks, and what it costs.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace coffer::fuse {

enum class Upcall : uint8_t {
  kLookup,
  kForget,
  kGetattr,
  kSetattr,
  kReadlink,
  kMknod,
  kMkdir,
  kUnlink,
  kRmdir,
  kSymlink,
  kRename,
  kLink,
  kOpen,
  kRead,
  kWrite,
  kFsync,
  kOpendir,
  kReaddir,
  kReaddirplus,
  kFsyncdir,
  kStatfs,
  kSetxattr,
  kGetxattr,
  kListxattr,
  kRemovexattr,
  kCreate,
  kFallocate,
  kCopyFileRange,
  kLseek,
  kCount,
};

// "lookup", "readdirplus", ...
std::string_view to_string(Upcall upcall);

// Thread-safe. Calls are counted one by one. CPU time is an estimate: to read a thread's clock is a system call, which may cost a
// tenth of an upcall, so that only one upcall in kEvery of each thread is measured, and stands for all.
class UpcallMeter {
 public:
  // Before the answer is sent, so that whoever waits for it finds it counted.
  void count(Upcall upcall) { of(upcall).calls.fetch_add(1, std::memory_order_relaxed); }
  static constexpr uint64_t kEvery = 17;  // prime: programs repeat what they do

  // Charges it with the CPU time that this thread used since its last charge(): with the reading of the request and the
  // reply as well, as the whole of a worker's work is upcalls. Again for what another thread does to answer it.
  void charge(Upcall upcall);

  uint64_t calls(Upcall upcall) const { return of(upcall).calls.load(std::memory_order_relaxed); }
  uint64_t cpu_ns(Upcall upcall) const { return of(upcall).cpu_ns.load(std::memory_order_relaxed); }

 private:
  struct alignas(64) Cell {
    std::atomic<uint64_t> calls{0}, cpu_ns{0};
  };
  const Cell& of(Upcall upcall) const { return cells_[static_cast<size_t>(upcall)]; }
  Cell& of(Upcall upcall) { return cells_[static_cast<size_t>(upcall)]; }

  std::array<Cell, static_cast<size_t>(Upcall::kCount)> cells_;
};

}  // namespace coffer::fuse
