#include "fs/fuse/upcall_meter.h"

#include <time.h>

namespace coffer::fuse {

namespace {

constexpr std::array<std::string_view, static_cast<size_t>(Upcall::kCount)> kNames = {
    "lookup",      "forget",   "getattr",   "setattr",         "readlink", "mknod",
    "mkdir",       "unlink",   "rmdir",     "symlink",         "rename",   "link",
    "open",        "read",     "write",     "fsync",           "opendir",  "readdir",
    "readdirplus", "fsyncdir", "statfs",    "setxattr",        "getxattr", "listxattr",
    "removexattr", "create",   "fallocate", "copy_file_range", "lseek",
};

uint64_t cpu_of_thread() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace

std::string_view to_string(Upcall upcall) { return kNames[static_cast<size_t>(upcall)]; }

void UpcallMeter::charge(Upcall upcall) {
  thread_local uint64_t number = 0, began = 0;
  switch (++number % kEvery) {
    case kEvery - 1:
      began = cpu_of_thread();
      break;
    case 0:
      of(upcall).cpu_ns.fetch_add(kEvery * (cpu_of_thread() - began), std::memory_order_relaxed);
      break;
    default:
      break;
  }
}

}  // namespace coffer::fuse
