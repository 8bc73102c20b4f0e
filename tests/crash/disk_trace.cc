// The plain and the 64 bit functions are two symbols only without this; both have to be met here.
#undef _FILE_OFFSET_BITS

#include "tests/crash/disk_trace.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace coffer::testing {
namespace {

struct OpenFile {
  uint64_t file = 0;
  bool directory = false, dsync = false;
  std::string path;
};

struct Recorder {
  std::mutex mutex;  // also held around the real call, so that the order of events is the order of effects
  bool on = false;
  std::string root;
  std::vector<TraceEvent> events;
  std::map<int, OpenFile> open;
  std::map<std::string, uint64_t> names;  // relative path -> file number
  uint64_t next_file = 1;

  std::optional<std::string> relative(const char* path) const {
    if (!on || path == nullptr) return std::nullopt;
    std::string p = path;
    if (!p.starts_with(root)) return std::nullopt;
    p = p.substr(root.size());
    while (p.starts_with('/')) p.erase(0, 1);
    return p;
  }
};

Recorder& recorder() {
  static Recorder* r = new Recorder;  // outlives every thread
  return *r;
}

template <typename F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

int traced_open(int (*real)(const char*, int, mode_t), const char* path, int flags, mode_t mode) {
  Recorder& r = recorder();
  std::lock_guard lock(r.mutex);
  auto relative = r.relative(path);
  bool existed = relative && ::access(path, F_OK) == 0;
  int fd = real(path, flags, mode);
  if (fd < 0 || !relative) return fd;
  OpenFile open{0, false, (flags & (O_DSYNC | O_SYNC)) != 0, *relative};
  struct stat st;
  if (::fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
    open.directory = true;
  } else {
    if (!existed || !r.names.contains(*relative)) {
      r.names[*relative] = r.next_file++;
      r.events.push_back({TraceEvent::Kind::kCreate, r.names[*relative], *relative, "", 0, "", false});
    }
    open.file = r.names[*relative];
    if (existed && (flags & O_TRUNC))
      r.events.push_back({TraceEvent::Kind::kTruncate, open.file, "", "", 0, "", false});
  }
  r.open[fd] = open;
  return fd;
}

// Runs a call on a descriptor and, when it worked and the file is traced, records what `event` makes of it.
template <typename Call, typename Event>
auto traced(int fd, Call&& call, Event&& event) {
  Recorder& r = recorder();
  std::lock_guard lock(r.mutex);
  auto result = call();
  auto it = r.on ? r.open.find(fd) : r.open.end();
  if (result >= 0 && it != r.open.end()) event(r, it->second, result);
  return result;
}

void record_write(Recorder& r, const OpenFile& f, uint64_t offset, const void* data, size_t size) {
  r.events.push_back(
      {TraceEvent::Kind::kWrite, f.file, "", "", offset, std::string(static_cast<const char*>(data), size), f.dsync});
}

// The `n` bytes of a vector that were written.
std::string gather(const struct iovec* parts, int count, ssize_t n) {
  std::string all;
  for (int i = 0; i < count; ++i) all.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  all.resize(static_cast<size_t>(n));
  return all;
}

// After an allocation: the size that the file has now. A growth, so it clears nothing.
void record_growth(Recorder& r, const OpenFile& f, int fd) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return;
  r.events.push_back({TraceEvent::Kind::kTruncate, f.file, "", "", static_cast<uint64_t>(st.st_size), "", false});
}

}  // namespace

void start_trace(const std::string& directory) {
  Recorder& r = recorder();
  std::lock_guard lock(r.mutex);
  r.root = directory;
  r.on = true;
}

void mark(uint64_t number) {
  Recorder& r = recorder();
  std::lock_guard lock(r.mutex);
  r.events.push_back({TraceEvent::Kind::kMark, 0, "", "", number, "", false});
}

std::vector<TraceEvent> stop_trace() {
  Recorder& r = recorder();
  std::lock_guard lock(r.mutex);
  r.on = false;
  r.open.clear();
  r.names.clear();
  return std::exchange(r.events, {});
}

std::string describe(const TraceEvent& e) {
  static constexpr const char* kNames[] = {"create",   "rename", "unlink",  "mkdir", "write",
                                           "truncate", "sync",   "syncdir", "mark"};
  return std::string(kNames[static_cast<int>(e.kind)]) + " file " + std::to_string(e.file) + " " + e.path + " " + e.to +
         " at " + std::to_string(e.offset) + " size " + std::to_string(e.data.size()) + (e.pinned ? " pinned" : "");
}

namespace {

constexpr uint64_t kSector = 512;

struct ImageFile {
  std::map<uint64_t, std::array<char, kSector>> sectors;
  uint64_t size = 0;

  void write_sectors(uint64_t offset, const std::string& data, const auto& keep) {
    for (uint64_t at = 0; at < data.size();) {
      uint64_t sector = (offset + at) / kSector, inside = (offset + at) % kSector;
      uint64_t n = std::min<uint64_t>(kSector - inside, data.size() - at);
      if (keep(sector)) {
        auto [it, fresh] = sectors.try_emplace(sector);
        if (fresh) it->second.fill(0);
        std::copy_n(data.data() + at, n, it->second.data() + inside);
        size = std::max(size, offset + at + n);
      }
      at += n;
    }
  }
  void truncate(uint64_t to) {
    if (to < size) {
      sectors.erase(sectors.lower_bound((to + kSector - 1) / kSector), sectors.end());
      if (to % kSector != 0)
        if (auto it = sectors.find(to / kSector); it != sectors.end())
          std::fill(it->second.begin() + static_cast<long>(to % kSector), it->second.end(), 0);
    }
    size = to;
  }
};

}  // namespace

void make_crash_image(const std::vector<TraceEvent>& events, size_t count, std::mt19937_64& rng,
                      const std::string& directory) {
  using Kind = TraceEvent::Kind;
  // What each file's last sync covers, and the last name event that is pinned.
  std::map<uint64_t, size_t> synced;
  size_t pinned_names = 0;
  std::map<uint64_t, size_t> last_name_of;
  std::map<std::string, size_t> last_name_in;
  auto parent = [](const std::string& path) { return path.substr(0, path.rfind('/') + 1); };
  for (size_t i = 0; i < count; ++i) {
    const TraceEvent& e = events[i];
    switch (e.kind) {
      case Kind::kSync:
        synced[e.file] = i;
        pinned_names = std::max(pinned_names, last_name_of[e.file]);  // a synced file has its name
        break;
      case Kind::kSyncDirectory:
        pinned_names = std::max(pinned_names, last_name_in[e.path.empty() ? "" : e.path + "/"]);
        break;
      case Kind::kCreate:
      case Kind::kUnlink:
      case Kind::kMkdir:
        if (e.kind == Kind::kCreate) last_name_of[e.file] = i + 1;
        last_name_in[parent(e.path)] = i + 1;
        break;
      case Kind::kRename:
        last_name_in[parent(e.path)] = last_name_in[parent(e.to)] = i + 1;
        break;
      default:
        break;
    }
  }
  size_t names_until = pinned_names + rng() % (count - std::min(count, pinned_names) + 1);
  if (rng() % 4 == 0) names_until = pinned_names;
  if (rng() % 4 == 0) names_until = count;

  std::map<uint64_t, ImageFile> files;
  std::map<std::string, uint64_t> names;
  std::vector<std::string> directories;
  unsigned mood = rng() % 4;  // of this disk: lose everything unsynced, keep everything, or mixed
  for (size_t i = 0; i < count; ++i) {
    const TraceEvent& e = events[i];
    bool safe = synced.contains(e.file) && i < synced[e.file];
    bool keep = safe || e.pinned || mood == 1 || (mood >= 2 && rng() % 2 == 0);
    switch (e.kind) {
      case Kind::kCreate:
        if (i < names_until) names[e.path] = e.file;
        break;
      case Kind::kMkdir:
        if (i < names_until) directories.push_back(e.path);
        break;
      case Kind::kUnlink:
        if (i < names_until) names.erase(e.path);
        break;
      case Kind::kRename:
        if (i < names_until && names.contains(e.path)) {
          names[e.to] = names[e.path];
          names.erase(e.path);
        }
        break;
      case Kind::kWrite: {
        if (!keep) break;
        bool torn = !safe && !e.pinned && mood >= 2 && rng() % 4 == 0;
        files[e.file].write_sectors(e.offset, e.data, [&](uint64_t) { return !torn || rng() % 2 == 0; });
        break;
      }
      case Kind::kTruncate:
        if (keep) files[e.file].truncate(e.offset);
        break;
      default:
        break;
    }
  }
  std::filesystem::create_directories(directory);
  for (const std::string& d : directories) std::filesystem::create_directories(directory + "/" + d);
  for (const auto& [path, file] : names) {
    std::string full = directory + "/" + path;
    std::filesystem::create_directories(std::filesystem::path(full).parent_path());
    int fd = ::open(full.c_str(), O_CREAT | O_WRONLY, 0600);
    if (fd < 0) std::abort();
    const ImageFile& f = files[file];
    for (const auto& [sector, bytes] : f.sectors) {
      uint64_t at = sector * kSector, n = std::min<uint64_t>(kSector, f.size > at ? f.size - at : 0);
      if (n > 0 && ::pwrite(fd, bytes.data(), n, static_cast<off_t>(at)) != static_cast<ssize_t>(n)) std::abort();
    }
    if (::ftruncate(fd, static_cast<off_t>(f.size)) != 0) std::abort();
    ::close(fd);
  }
}

}  // namespace coffer::testing

// --- libc's functions, as the dynamic linker finds them first in this program

using coffer::testing::Recorder;
using coffer::testing::TraceEvent;
namespace ct = coffer::testing;

extern "C" {

#define TRACED_OPEN(NAME)                                                                                    \
  int NAME(const char* path, int flags, ...) {                                                               \
    va_list args;                                                                                            \
    va_start(args, flags);                                                                                   \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;                                \
    va_end(args);                                                                                            \
    static auto real = ct::next<int (*)(const char*, int, ...)>(#NAME);                                      \
    return ct::traced_open([](const char* p, int f, mode_t m) { return real(p, f, m); }, path, flags, mode); \
  }
TRACED_OPEN(open)
TRACED_OPEN(open64)

int close(int fd) {
  static auto real = ct::next<int (*)(int)>("close");
  Recorder& r = ct::recorder();
  std::lock_guard lock(r.mutex);
  r.open.erase(fd);
  return real(fd);
}

#define TRACED_PWRITE(NAME, OFF)                                                               \
  ssize_t NAME(int fd, const void* data, size_t size, OFF offset) {                            \
    static auto real = ct::next<ssize_t (*)(int, const void*, size_t, OFF)>(#NAME);            \
    return ct::traced(                                                                         \
        fd, [&] { return real(fd, data, size, offset); },                                      \
        [&](Recorder& r, const ct::OpenFile& f, ssize_t n) {                                   \
          ct::record_write(r, f, static_cast<uint64_t>(offset), data, static_cast<size_t>(n)); \
        });                                                                                    \
  }
TRACED_PWRITE(pwrite, off_t)
TRACED_PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void* data, size_t size) {
  static auto real = ct::next<ssize_t (*)(int, const void*, size_t)>("write");
  off_t at = -1;
  return ct::traced(
      fd,
      [&] {
        ssize_t n = real(fd, data, size);
        if (n > 0) at = ::lseek(fd, 0, SEEK_CUR) - n;
        return n;
      },
      [&](Recorder& r, const ct::OpenFile& f, ssize_t n) {
        ct::record_write(r, f, static_cast<uint64_t>(at), data, static_cast<size_t>(n));
      });
}

#define TRACED_VECTOR(NAME, OFF)                                                         \
  ssize_t NAME(int fd, const struct iovec* parts, int count, OFF offset) {               \
    static auto real = ct::next<ssize_t (*)(int, const struct iovec*, int, OFF)>(#NAME); \
    return ct::traced(                                                                   \
        fd, [&] { return real(fd, parts, count, offset); },                              \
        [&](Recorder& r, const ct::OpenFile& f, ssize_t n) {                             \
          std::string all = ct::gather(parts, count, n);                                 \
          ct::record_write(r, f, static_cast<uint64_t>(offset), all.data(), all.size()); \
        });                                                                              \
  }
TRACED_VECTOR(pwritev, off_t)
TRACED_VECTOR(pwritev64, off64_t)

ssize_t writev(int fd, const struct iovec* parts, int count) {
  static auto real = ct::next<ssize_t (*)(int, const struct iovec*, int)>("writev");
  off_t at = -1;
  return ct::traced(
      fd,
      [&] {
        ssize_t n = real(fd, parts, count);
        if (n > 0) at = ::lseek(fd, 0, SEEK_CUR) - n;
        return n;
      },
      [&](Recorder& r, const ct::OpenFile& f, ssize_t n) {
        std::string all = ct::gather(parts, count, n);
        ct::record_write(r, f, static_cast<uint64_t>(at), all.data(), all.size());
      });
}

#define TRACED_SYNC(NAME)                                                                                       \
  int NAME(int fd) {                                                                                            \
    static auto real = ct::next<int (*)(int)>(#NAME);                                                           \
    return ct::traced(                                                                                          \
        fd, [&] { return real(fd); },                                                                           \
        [&](Recorder& r, const ct::OpenFile& f, int) {                                                          \
          r.events.push_back({f.directory ? TraceEvent::Kind::kSyncDirectory : TraceEvent::Kind::kSync, f.file, \
                              f.path, "", 0, "", false});                                                       \
        });                                                                                                     \
  }
TRACED_SYNC(fsync)
TRACED_SYNC(fdatasync)

#define TRACED_TRUNCATE(NAME, OFF)                                                                                   \
  int NAME(int fd, OFF size) {                                                                                       \
    static auto real = ct::next<int (*)(int, OFF)>(#NAME);                                                           \
    return ct::traced(                                                                                               \
        fd, [&] { return real(fd, size); },                                                                          \
        [&](Recorder& r, const ct::OpenFile& f, int) {                                                               \
          r.events.push_back({TraceEvent::Kind::kTruncate, f.file, "", "", static_cast<uint64_t>(size), "", false}); \
        });                                                                                                          \
  }
TRACED_TRUNCATE(ftruncate, off_t)
TRACED_TRUNCATE(ftruncate64, off64_t)

#define TRACED_ALLOCATE(NAME, OFF)                                                                       \
  int NAME(int fd, int mode, OFF offset, OFF length) {                                                   \
    static auto real = ct::next<int (*)(int, int, OFF, OFF)>(#NAME);                                     \
    return ct::traced(                                                                                   \
        fd, [&] { return real(fd, mode, offset, length); },                                              \
        [&](Recorder& r, const ct::OpenFile& f, int) {                                                   \
          if (mode & FALLOC_FL_PUNCH_HOLE)                                                               \
            r.events.push_back({TraceEvent::Kind::kWrite, f.file, "", "", static_cast<uint64_t>(offset), \
                                std::string(static_cast<size_t>(length), '\0'), false});                 \
          else if (mode == 0)                                                                            \
            ct::record_growth(r, f, fd);                                                                 \
        });                                                                                              \
  }
TRACED_ALLOCATE(fallocate, off_t)
TRACED_ALLOCATE(fallocate64, off64_t)

int posix_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length) == 0 ? 0 : errno; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  return fallocate64(fd, 0, offset, length) == 0 ? 0 : errno;
}

int rename(const char* from, const char* to) {
  static auto real = ct::next<int (*)(const char*, const char*)>("rename");
  Recorder& r = ct::recorder();
  std::lock_guard lock(r.mutex);
  int result = real(from, to);
  auto a = r.relative(from), b = r.relative(to);
  if (result == 0 && a && b) {
    r.events.push_back({TraceEvent::Kind::kRename, r.names[*a], *a, *b, 0, "", false});
    r.names[*b] = r.names[*a];
    r.names.erase(*a);
  }
  return result;
}

int unlink(const char* path) {
  static auto real = ct::next<int (*)(const char*)>("unlink");
  Recorder& r = ct::recorder();
  std::lock_guard lock(r.mutex);
  int result = real(path);
  if (auto p = r.relative(path); result == 0 && p) {
    r.events.push_back({TraceEvent::Kind::kUnlink, r.names[*p], *p, "", 0, "", false});
    r.names.erase(*p);
  }
  return result;
}

int mkdir(const char* path, mode_t mode) {
  static auto real = ct::next<int (*)(const char*, mode_t)>("mkdir");
  Recorder& r = ct::recorder();
  std::lock_guard lock(r.mutex);
  int result = real(path, mode);
  if (auto p = r.relative(path); result == 0 && p)
    r.events.push_back({TraceEvent::Kind::kMkdir, 0, *p, "", 0, "", false});
  return result;
}

}  // extern "C"
