#include "cache/pack_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

namespace coffer {
namespace {

constexpr char kNewDirectory[] = "new";

// The id that a file name spells, exactly as we spell it.
std::optional<ObjectId> parse_name(const std::string& name) {
  auto bytes = unhex(name);
  if (!bytes || bytes->size() != ObjectId::kSize) return std::nullopt;
  ObjectId id = ObjectId::from(*bytes);
  if (id.str() != name) return std::nullopt;
  return id;
}

// The names in a directory; none when it does not exist.
Result<std::vector<std::string>> list(const std::string& dir) {
  std::vector<std::string> names;
  DIR* d = ::opendir(dir.c_str());
  if (d == nullptr) {
    if (errno == ENOENT) return names;
    return fail(errno_error(dir, errno));
  }
  errno = 0;
  while (dirent* e = ::readdir(d)) names.emplace_back(e->d_name);
  int err = errno;
  ::closedir(d);
  if (err != 0) return fail(errno_error(dir, err));
  return names;
}

// The 256 names of the directories of finished packs.
std::string shard(unsigned i) {
  uint8_t byte = static_cast<uint8_t>(i);
  return hex(BytesView(&byte, 1));
}

}  // namespace

Result<std::unique_ptr<PackFiles>> PackFiles::open(const std::string& dir) {
  std::unique_ptr<PackFiles> files(new PackFiles(dir));
  TRYV(make_directories(dir + "/" + kNewDirectory));
  TRYV(sync_directory(dir));
  TRYV(files->learn(kNewDirectory, true));
  for (unsigned i = 0; i < 256; ++i) TRYV(files->learn(shard(i), false));
  return files;
}

Result<void> PackFiles::make_shard(const ObjectId& id) {
  std::string path = dir_ + "/" + id.str().substr(0, 2);
  if (::mkdir(path.c_str(), 0700) == 0) return sync_directory(dir_);
  if (errno != EEXIST) return fail(errno_error(path, errno));
  return {};
}

Result<void> PackFiles::learn(const std::string& subdir, bool unfinished) {
  TRY(std::vector<std::string> names, list(dir_ + "/" + subdir));
  MutexLock lock(mutex_);
  for (const std::string& name : names) {
    auto id = parse_name(name);
    if (!id || (!unfinished && subdir != name.substr(0, 2))) continue;
    PackFilePtr& file = files_[*id];
    // Both names: the crash came when only the new one of mark_finished() had reached the disk.
    if (file) ::unlink(path(*id, true).c_str());
    if (!file) {
      file = std::make_shared<PackFile>(*id);
      for (auto& used : file->used_) used = kFormerRun;
      mark_stale(file);
    }
    file->unfinished_ = unfinished;
  }
  return {};
}

std::string PackFiles::path(const ObjectId& id, bool unfinished) const {
  std::string name = id.str();
  return dir_ + "/" + (unfinished ? std::string(kNewDirectory) : name.substr(0, 2)) + "/" + name;
}

PackFilePtr PackFiles::find(const ObjectId& id) const {
  MutexLock lock(mutex_);
  auto it = files_.find(id);
  return it == files_.end() ? nullptr : it->second;
}

Result<PackFilePtr> PackFiles::create(const ObjectId& id, bool unfinished) {
  TRY(Fd fd, open_file(path(id, unfinished), O_RDWR | O_CREAT | O_EXCL));
  auto file = std::make_shared<PackFile>(id);
  file->unfinished_ = unfinished;
  MutexLock lock(mutex_);
  files_[id] = file;
  mark_stale(file);
  return file;
}

Result<PackFilePtr> PackFiles::create_unfinished(const ObjectId& id) { return create(id, true); }

Result<PackFilePtr> PackFiles::find_or_create(const ObjectId& id) {
  if (PackFilePtr file = find(id)) return file;
  TRYV(make_shard(id));
  MutexLock names(names_mutex_);
  if (PackFilePtr file = find(id)) return file;
  return create(id, false);
}

Result<void> PackFiles::mark_finished(const PackFilePtr& file) {
  std::string from = path(file->id(), true), to = path(file->id(), false);
  TRYV(make_shard(file->id()));
  {
    MutexLock names(names_mutex_);
    bool renamed;
    {
      MutexLock lock(mutex_);
      if (file->removed_) return fail(Code::kNotFound, "pack " + file->id().str());
      renamed = !file->unfinished_;
    }
    if (!renamed && ::rename(from.c_str(), to.c_str()) != 0) return fail(errno_error(from, errno));
    MutexLock lock(mutex_);
    file->unfinished_ = false;
  }
  return sync_directory(to.substr(0, to.find_last_of('/')));
}

Result<void> PackFiles::remove(const ObjectId& id) {
  MutexLock names(names_mutex_);
  PackFilePtr file = find(id);
  if (!file) return {};
  // The map forgets it only after the unlink, and nobody can make the id anew before that: names_mutex_ is ours.
  std::string name = path(id, unfinished(file));
  if (::unlink(name.c_str()) != 0 && errno != ENOENT) return fail(errno_error(name, errno));
  std::shared_ptr<const Fd> last;
  MutexLock lock(mutex_);
  last = uncache(*file);
  file->removed_ = true;
  disk_total_ -= file->disk_bytes_;
  files_.erase(id);
  return {};
}

Result<void> PackFiles::sync_new() { return sync_directory(dir_ + "/" + kNewDirectory); }

Result<std::shared_ptr<const Fd>> PackFiles::fd(const PackFilePtr& file) {
  for (;;) {
    bool in_new;
    {
      MutexLock lock(mutex_);
      if (file->fd_) {
        lru_.splice(lru_.begin(), lru_, file->place_in_lru_);
        return file->fd_;
      }
      if (file->removed_) return fail(Code::kNotFound, "pack " + file->id().str());
      in_new = file->unfinished_;
    }
    auto opened = open_file(path(file->id(), in_new), O_RDWR);
    std::shared_ptr<const Fd> evicted;
    MutexLock lock(mutex_);
    if (!opened) {
      // mark_finished() may have moved it between the two locks; look again where it is now.
      if (opened.error().code() == Code::kNotFound && in_new && !file->unfinished_) continue;
      return fail(std::move(opened).error());
    }
    auto fd = std::make_shared<const Fd>(std::move(*opened));
    if (file->removed_ || file->fd_) return fd;
    file->fd_ = fd;
    lru_.push_front(file.get());
    file->place_in_lru_ = lru_.begin();
    if (lru_.size() > kMaxOpen) evicted = uncache(*lru_.back());
    return fd;
  }
}

bool PackFiles::unfinished(const PackFilePtr& file) const {
  MutexLock lock(mutex_);
  return file->unfinished_;
}

std::vector<ObjectId> PackFiles::ids(bool unfinished_only) const {
  MutexLock lock(mutex_);
  std::vector<ObjectId> out;
  if (!unfinished_only) out.reserve(files_.size());
  for (const auto& [id, file] : files_)
    if (file->unfinished_ || !unfinished_only) out.push_back(id);
  return out;
}

void PackFiles::used(const PackFilePtr& file, uint64_t offset, uint64_t length) {
  const uint64_t now = uses_.fetch_add(1, std::memory_order_relaxed) + 1;
  const uint64_t end = offset + std::max<uint64_t>(length, 1);
  for (uint64_t i = offset / kUseGrain; i * kUseGrain < end; ++i)
    file->used_[std::min<uint64_t>(i, kUseRanges - 1)].store(now, std::memory_order_relaxed);
}

std::vector<PackFiles::Range> PackFiles::ranges_by_use() {
  (void)disk_bytes();  // the times of what a former run left
  std::vector<PackFilePtr> finished;
  {
    MutexLock lock(mutex_);
    finished.reserve(files_.size());
    for (const auto& [id, file] : files_)
      if (!file->unfinished_) finished.push_back(file);
  }
  std::vector<Range> ranges;
  for (const PackFilePtr& file : finished) {
    for (size_t i = 0; i < kUseRanges; ++i)
      if (uint64_t used = file->used_[i].load(std::memory_order_relaxed); used != 0) ranges.push_back({used, file, i});
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.used < b.used; });
  return ranges;
}

Result<uint64_t> PackFiles::evict(const Range& range) {
  PackFile& file = *range.file;
  auto opened = fd(range.file);
  if (!opened) return opened.error().code() == Code::kNotFound ? Result<uint64_t>(0) : fail(std::move(opened).error());
  // First what says that something is here: whoever stores while we punch says so again afterwards.
  file.used_[range.index] = 0;
  struct stat before, after;
  if (::fstat((*opened)->get(), &before) != 0) return fail(errno_error("fstat", errno));
  const uint64_t from = range.index * kUseGrain;
  const bool last = range.index == kUseRanges - 1;
  const uint64_t length = last ? static_cast<uint64_t>(std::max<off_t>(before.st_size, 0)) : from + kUseGrain;
  bool punched = length <= from || ::fallocate((*opened)->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                               static_cast<off_t>(from), static_cast<off_t>(length - from)) == 0;
  // A file system that cannot punch holes frees whole files.
  if (!punched && errno != EOPNOTSUPP) return fail(errno_error("fallocate", errno));
  const uint64_t had = static_cast<uint64_t>(before.st_blocks) * 512;
  bool empty = std::all_of(file.used_.begin(), file.used_.end(), [](const auto& used) { return used == 0; });
  if (empty || !punched) {
    TRYV(remove(file.id()));
    return had;
  }
  changed(range.file);
  if (::fstat((*opened)->get(), &after) != 0) return fail(errno_error("fstat", errno));
  return had - std::min(had, static_cast<uint64_t>(after.st_blocks) * 512);
}

void PackFiles::changed(const PackFilePtr& file) {
  MutexLock lock(mutex_);
  mark_stale(file);
}

uint64_t PackFiles::disk_bytes() {
  std::vector<PackFilePtr> stale;
  {
    MutexLock lock(mutex_);
    stale.swap(stale_);
    for (const PackFilePtr& file : stale) file->disk_stale_ = false;
  }
  for (const PackFilePtr& file : stale) {
    struct stat st;
    if (::stat(path(file->id(), unfinished(file)).c_str(), &st) != 0) {
      changed(file);  // being moved: it will be found the next time
      continue;
    }
    MutexLock lock(mutex_);
    if (file->removed_) continue;
    disk_total_ -= file->disk_bytes_;
    file->disk_bytes_ = static_cast<uint64_t>(st.st_blocks) * 512;
    disk_total_ += file->disk_bytes_;
    uint64_t seconds = static_cast<uint64_t>(std::max<time_t>({st.st_atime, st.st_mtime, time_t{kFormerRun + 1}}));
    for (auto& used : file->used_) {
      uint64_t unknown = kFormerRun;
      used.compare_exchange_strong(unknown, seconds);
    }
  }
  MutexLock lock(mutex_);
  return disk_total_;
}

void PackFiles::mark_stale(const PackFilePtr& file) {
  if (file->disk_stale_ || file->removed_) return;
  file->disk_stale_ = true;
  stale_.push_back(file);
}

std::shared_ptr<const Fd> PackFiles::uncache(PackFile& file) {
  if (!file.fd_) return nullptr;
  lru_.erase(file.place_in_lru_);
  return std::exchange(file.fd_, nullptr);
}

}  // namespace coffer
