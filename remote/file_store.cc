#include "remote/file_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/failpoint.h"

namespace coffer {
namespace {

constexpr size_t kSlice = 1 << 20;  // how much is moved between two looks at the stop token
constexpr std::string_view kTemporarySuffix = ".put";
constexpr time_t kStaleSeconds = 24 * 3600;

Result<std::string> temporary_name() {
  uint8_t random[8];
  if (::getrandom(random, sizeof random, 0) != sizeof random) return fail(errno_error("getrandom", errno));
  return "." + hex(random) + std::string(kTemporarySuffix);
}

bool is_temporary(std::string_view name) { return name.starts_with('.') && name.ends_with(kTemporarySuffix); }

// A file that goes away unless it was renamed into place.
class TemporaryFile {
 public:
  TemporaryFile(const Fd& directory, std::string name) : directory_(directory), name_(std::move(name)) {}
  ~TemporaryFile() {
    if (!kept_) ::unlinkat(directory_.get(), name_.c_str(), 0);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  bool rename_to(const char* name) {
    kept_ = ::renameat(directory_.get(), name_.c_str(), directory_.get(), name) == 0;
    return kept_;
  }

 private:
  const Fd& directory_;
  const std::string name_;
  bool kept_ = false;
};

Fd open_at(const Fd& directory, const char* name, int flags, unsigned mode = 0600) {
  int fd;
  do fd = ::openat(directory.get(), name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
  while (fd < 0 && errno == EINTR);
  return Fd(fd);
}

}  // namespace

Result<std::unique_ptr<FileStore>> FileStore::open(std::string root, bool create) {
  if (root.empty()) return fail(Code::kInvalid, "the store's directory has an empty name");
  if (root.find('\0') != std::string::npos) return fail(Code::kInvalid, "the store's directory has a NUL in its name");
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  if (create) {
    if (auto made = make_directories(root); !made) return fail(made.error().in("making the store's directory"));
  }
  return std::unique_ptr<FileStore>(new FileStore(std::move(root)));
}

// Everything but lack of room and of permission may pass: the disk comes back, the server of the network file system
// does.
Error FileStore::error(std::string_view what, int err) const {
  Code code = errno_error("", err).code();
  std::string text = std::string(what) + " in directory " + root_ + ": " + std::strerror(err);
  switch (code) {
    case Code::kNoSpace:
      return Error(code, text + "; make room there");
    case Code::kDenied:
      return Error(code, text + "; check who may write there (ls -ld)");
    case Code::kNotFound:
    case Code::kNotDirectory:
    case Code::kIsDirectory:
      return Error(code, text);
    default:
      return Error(Code::kUnavailable, text);
  }
}

Result<Fd> FileStore::open_root() const {
  auto root = open_file(root_, O_RDONLY | O_DIRECTORY);
  if (root) return root;
  switch (root.error().code()) {
    case Code::kNotFound:
      return fail(Code::kUnavailable,
                  "the store's directory " + root_ + " is not there; is its disk connected and mounted?");
    case Code::kNotDirectory:
      return fail(Code::kInvalid, "the store " + root_ + " is not a directory");
    case Code::kDenied:
      return fail(Code::kDenied, "the store's directory " + root_ + " may not be opened; check its owner and mode");
    default:
      return fail(Code::kUnavailable, "the store's directory " + root.error().what());
  }
}

Result<Fd> FileStore::open_parent(const Fd& root, const std::string& key) const {
  size_t last = key.rfind('/');
  std::string path = last == std::string::npos ? "." : key.substr(0, last);
  if (Fd fd = open_at(root, path.c_str(), O_RDONLY | O_DIRECTORY)) return fd;
  if (errno != ENOENT) return fail(error("put " + key, errno));
  // Level by level, each made durable in its parent before anything is put below it.
  Fd parent = open_at(root, ".", O_RDONLY | O_DIRECTORY);
  for (size_t begin = 0; parent && begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string name = path.substr(begin, end - begin);
    if (::mkdirat(parent.get(), name.c_str(), 0700) == 0) {
      if (::fsync(parent.get()) != 0) return fail(error("put " + key + ": syncing a directory", errno));
    } else if (errno != EEXIST) {
      return fail(error("put " + key + ": making a directory", errno));
    }
    parent = open_at(parent, name.c_str(), O_RDONLY | O_DIRECTORY);
    begin = end + 1;
  }
  if (!parent) return fail(error("put " + key + ": opening a directory", errno));
  return parent;
}

Result<void> FileStore::put(const std::string& key, BytesView data, std::stop_token stop) {
  TRYV(check_key("put", key, stop));
  TRY(Fd root, open_root());
  TRY(Fd parent, open_parent(root, key));
  TRY(std::string name, temporary_name());
  Fd file = open_at(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL);
  if (!file) return fail(error("put " + key, errno));
  TemporaryFile temporary(parent, name);
  for (size_t done = 0; done < data.size(); done += kSlice) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "put " + key + ": cancelled");
    if (!write_at(file, data.subspan(done, std::min(kSlice, data.size() - done)), done))
      return fail(error("put " + key, errno));
  }
  if (::fdatasync(file.get()) != 0) return fail(error("put " + key + ": syncing", errno));
  TRYV(failpoint("remote.file.before_rename"));
  if (!temporary.rename_to(key.c_str() + (key.rfind('/') + 1))) return fail(error("put " + key + ": renaming", errno));
  TRYV(failpoint("remote.file.after_rename"));
  if (::fsync(parent.get()) != 0) return fail(error("put " + key + ": syncing its directory", errno));
  return {};
}

Result<FileStore::Opened> FileStore::open_object(const std::string& key) const {
  TRY(Fd root, open_root());
  // O_NONBLOCK: a pipe that somebody put there must not hang the reader.
  Fd fd = open_at(root, key.c_str(), O_RDONLY | O_NONBLOCK);
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR)
      return fail(Code::kNotFound, "get " + key + ": no such object in directory " + root_);
    if (errno == ELOOP)
      return fail(Code::kCorrupt, "get " + key + " in directory " + root_ + ": a symbolic link, not an object");
    return fail(error("get " + key, errno));
  }
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return fail(error("get " + key, errno));
  if (!S_ISREG(st.st_mode))
    return fail(Code::kCorrupt, "get " + key + " in directory " + root_ + ": not a regular file, so not an object");
  return Opened{std::move(fd), static_cast<uint64_t>(st.st_size)};
}

Result<Bytes> FileStore::get(const std::string& key, size_t limit, std::stop_token stop) {
  TRYV(check_key("get", key, stop));
  TRY(Opened object, open_object(key));
  if (object.size > limit)
    return fail(Code::kTooLarge, "get " + key + " in directory " + root_ + ": it has " + std::to_string(object.size) +
                                     " bytes, at most " + std::to_string(limit) + " make sense here");
  return read(object, key, 0, object.size, stop);
}

Result<Bytes> FileStore::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  TRYV(check_key("get", key, stop));
  TRY(Opened object, open_object(key));
  return read(object, key, offset, length, stop);
}

Result<Bytes> FileStore::read(const Opened& object, const std::string& key, uint64_t offset, uint64_t length,
                              const std::stop_token& stop) const {
  if (offset >= object.size) return Bytes();
  Bytes bytes(std::min<uint64_t>(length, object.size - offset));
  for (size_t done = 0; done < bytes.size(); done += kSlice) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "get " + key + ": cancelled");
    auto slice = MutableBytes(bytes).subspan(done, std::min(kSlice, bytes.size() - done));
    if (auto read = read_at(object.fd, slice, offset + done); !read) {
      if (read.error().code() == Code::kRange)
        return fail(Code::kCorrupt, "get " + key + " in directory " + root_ + ": the file shrank while it was read");
      return fail(error("get " + key, errno));
    }
  }
  return bytes;
}

Result<std::vector<ObjectInfo>> FileStore::list(const std::string& prefix, std::stop_token stop) {
  TRYV(check_prefix(prefix, stop));
  TRY(Fd root, open_root());
  std::vector<ObjectInfo> found;
  TRYV(list_directory(root, prefix.empty() ? "." : prefix.substr(0, prefix.size() - 1), prefix, stop, found));
  return found;
}

// Depth is bounded: each level adds to the key, and keys are short.
Result<void> FileStore::list_directory(const Fd& parent, const std::string& name, const std::string& prefix,
                                       const std::stop_token& stop, std::vector<ObjectInfo>& found) const {
  Fd fd = open_at(parent, name.c_str(), O_RDONLY | O_DIRECTORY);
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return {};  // gone, or foreign
    return fail(error("list " + prefix, errno));
  }
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd.get()), ::closedir);
  if (!dir) return fail(error("list " + prefix, errno));
  fd.release();  // the DIR owns it now
  const Fd self(::dup(::dirfd(dir.get())));
  if (!self) return fail(error("list " + prefix, errno));
  for (;;) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "list " + prefix + ": cancelled");
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) return fail(error("list " + prefix, errno));
      return {};
    }
    std::string_view component = entry->d_name;
    std::string key = prefix + std::string(component);
    bool temporary = is_temporary(component);
    if (!temporary && !valid_object_key(key)) continue;
    struct stat st;
    if (::fstatat(self.get(), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // removed meanwhile
      return fail(error("list " + prefix, errno));
    }
    if (temporary) {
      if (S_ISREG(st.st_mode) && ::time(nullptr) - st.st_mtime > kStaleSeconds)
        ::unlinkat(self.get(), entry->d_name, 0);
    } else if (S_ISREG(st.st_mode)) {
      found.push_back({std::move(key), static_cast<uint64_t>(st.st_size)});
    } else if (S_ISDIR(st.st_mode)) {
      TRYV(list_directory(self, entry->d_name, key + "/", stop, found));
    }
  }
}

Result<void> FileStore::remove(const std::string& key, std::stop_token stop) {
  TRYV(check_key("remove", key, stop));
  TRY(Fd root, open_root());
  // Not synced: an object that comes back after a crash is removed again by whoever did not want it.
  if (::unlinkat(root.get(), key.c_str(), 0) != 0 && errno != ENOENT && errno != ENOTDIR)
    return fail(error("remove " + key, errno));
  return {};
}

}  // namespace coffer
