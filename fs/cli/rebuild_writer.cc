#include "fs/cli/rebuild_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace coffer::cli {
namespace {

constexpr size_t kMostOpen = 64;
constexpr int kMostNumbers = 1000;

}  // namespace

Outcome<RebuildWriter> RebuildWriter::make(const std::string& destination) {
  RebuildWriter w;
  w.destination_ = destination;
  if (::mkdir(destination.c_str(), 0700) != 0) {
    if (errno == EEXIST)
      return give_up(Exit::kUsage, destination + " is there already", "Name a place that does not exist.");
    return give_up(Failure(errno_error(destination, errno)));
  }
  TRY(w.top_, open_file(destination, O_RDONLY | O_DIRECTORY));
  return w;
}

// The directory of these first `depth` components; `shown` is where it is. A file that is in the way gives a directory
// with a number.
Outcome<Fd> RebuildWriter::directory(const std::vector<std::string>& path, size_t depth, std::string& shown) {
  Fd here(::dup(top_.get()));
  for (size_t i = 0; i < depth; ++i) {
    for (int number = 1;; ++number) {
      const std::string name = number == 1 ? path[i] : path[i].substr(0, 240) + " (" + std::to_string(number) + ")";
      if (::mkdirat(here.get(), name.c_str(), 0700) != 0 && errno != EEXIST)
        return give_up(Failure(errno_error(destination_ + "/" + shown + name, errno)));
      Fd next(::openat(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next && (errno != ENOTDIR || number == kMostNumbers))
        return give_up(Failure(errno_error(destination_ + "/" + shown + name, errno)));
      if (!next) continue;
      here = std::move(next);
      shown += name + "/";
      break;
    }
  }
  return here;
}

Outcome<void> RebuildWriter::make_all(const Rebuild& rebuild) {
  for (const auto& directories : rebuild.directories()) {
    std::vector<std::string> path = {"files"};
    path.insert(path.end(), directories.begin(), directories.end());
    std::string shown;
    TRYV(directory(path, path.size(), shown));
  }
  for (const RecoveredFile& file : rebuild.files()) {
    std::vector<std::string> path = {file.removed ? "removed" : "files"};
    path.insert(path.end(), file.path.begin(), file.path.end());
    std::string shown;
    TRY(Fd dir, directory(path, path.size() - 1, shown));
    for (int number = 1;; ++number) {
      const std::string name =
          number == 1 ? path.back() : path.back().substr(0, 240) + " (" + std::to_string(number) + ")";
      Fd made(::openat(dir.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!made && (errno != EEXIST || number == kMostNumbers))
        return give_up(Failure(errno_error(destination_ + "/" + shown + name, errno)));
      if (!made) continue;
      paths_.push_back(shown + name);
      break;
    }
  }
  return {};
}

Outcome<Fd> RebuildWriter::open(size_t file) {
  Fd fd(::openat(top_.get(), paths_[file].c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return give_up(Failure(errno_error(destination_ + "/" + paths_[file], errno)));
  return fd;
}

Outcome<void> RebuildWriter::write(size_t file, uint64_t offset, BytesView bytes) {
  auto it = open_.find(file);
  if (it == open_.end()) {
    if (open_.size() >= kMostOpen) open_.clear();
    TRY(Fd fd, open(file));
    it = open_.emplace(file, std::move(fd)).first;
  }
  TRYV(write_at(it->second, bytes, offset));
  return {};
}

Outcome<void> RebuildWriter::finish(const Rebuild& rebuild) {
  open_.clear();
  for (size_t i = 0; i < paths_.size(); ++i) {
    TRY(Fd fd, open(i));
    if (::ftruncate(fd.get(), static_cast<off_t>(rebuild.files()[i].size)) != 0)
      return give_up(Failure(errno_error(destination_ + "/" + paths_[i], errno)));
  }
  return {};
}

}  // namespace coffer::cli
