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

uint64_t cpu_since_last() {
  thread_local uint64_t last = 0;
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  uint64_t now = static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
  uint64_t spent = now - last;
  last = now;
  return spent;
}

}  // namespace

std::string_view to_string(Upcall upcall) { return kNames[static_cast<size_t>(upcall)]; }

void UpcallMeter::charge(Upcall upcall) { of(upcall).cpu_ns.fetch_add(cpu_since_last(), std::memory_order_relaxed); }

}  // namespace coffer::fuse
