#include "cache/journal_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/failpoint.h"
#include "crypto/random.h"

namespace coffer {
namespace {

constexpr size_t kNameDigits = 16;
constexpr size_t kReadAhead = 1 << 20;

std::string hex_lsn(Lsn lsn) {
  char name[kNameDigits + 1];
  std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(lsn));
  return name;
}

std::optional<Lsn> parse_lsn(const std::string& name) {
  if (name.size() != kNameDigits) return std::nullopt;
  auto bytes = unhex(name);
  if (!bytes) return std::nullopt;
  Lsn lsn = 0;
  for (uint8_t b : *bytes) lsn = lsn << 8 | b;
  if (hex_lsn(lsn) != name) return std::nullopt;
  return lsn;
}

}  // namespace

Result<std::vector<Lsn>> list_journal_files(const std::string& dir) {
  DIR* d = ::opendir(dir.c_str());
  if (d == nullptr) return fail(errno_error(dir, errno));
  std::vector<Lsn> lsns;
  errno = 0;
  while (dirent* e = ::readdir(d))
    if (auto lsn = parse_lsn(e->d_name)) lsns.push_back(*lsn);
  int err = errno;
  ::closedir(d);
  if (err != 0) return fail(errno_error(dir, err));
  std::sort(lsns.begin(), lsns.end());
  return lsns;
}

std::string journal_path(const std::string& dir, Lsn first) { return dir + "/" + hex_lsn(first); }
std::string spare_journal_path(const std::string& dir) { return dir + "/spare"; }
std::string next_journal_path(const std::string& dir) { return dir + "/next"; }

Result<JournalFile> prepare_journal_file(const std::string& dir, Lsn first, uint64_t size, uint64_t least) {
  // Taken out of the way of release(), which may put another spare there at any time.
  const std::string next = next_journal_path(dir);
  if (::rename(spare_journal_path(dir).c_str(), next.c_str()) != 0 && errno != ENOENT)
    return fail(errno_error(next, errno));
  TRY(Fd fd, open_file(next, O_RDWR | O_CREAT));
  TRY(uint64_t had, file_size(fd));
  for (uint64_t want : {size, least}) {
    if (had >= want) break;
    // A full disk shows here, and not when an entry has to be written.
    int err = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(want));
    if (err == 0) {
      had = want;
      break;
    }
    (void)::ftruncate(fd.get(), static_cast<off_t>(had));  // gives back what it had got so far
    if (err != ENOSPC || want == least) return fail(errno_error("journal preallocation", err));
  }
  JournalFile file;
  file.header = {random_id<ObjectId>(), first};
  file.size = had;
  file.offset = kJournalGrain;
  TRYV(write_at(fd, encode_journal_header(file.header), 0));
  file.fd = std::make_shared<const Fd>(std::move(fd));
  return file;
}

Result<void> publish_journal_file(const std::string& dir, const JournalFile& file) {
  const std::string path = journal_path(dir, file.header.first);
  TRYV(failpoint("journal.create"));
  TRYV(sync_data(*file.fd));
  if (::rename(next_journal_path(dir).c_str(), path.c_str()) != 0) return fail(errno_error(path, errno));
  TRYV(sync_directory(dir));
  return failpoint("journal.create.after");
}

Result<JournalReader> JournalReader::open(const std::string& dir, Lsn first, const VolumeId& volume,
                                          const LocalKeys& keys) {
  const std::string path = journal_path(dir, first);
  TRY(Fd fd, open_file(path, O_RDWR));
  TRY(uint64_t size, file_size(fd));
  JournalReader reader(std::make_shared<const Fd>(std::move(fd)), size, std::nullopt, volume, keys);
  TRY(BytesView bytes, reader.read(0, kJournalGrain));
  auto header = decode_journal_header(bytes);
  if (!header) return fail(header.error().in(path));
  // Under the header of another life or place, blocks would open that do not belong here.
  if (*header && (*header)->first == first) reader.header_ = **header;
  return reader;
}

Result<std::optional<OpenedBlock>> JournalReader::block(uint64_t offset) {
  if (!header_) return std::nullopt;
  TRY(BytesView head, read(offset, kBlockHead));
  auto length = block_length(head, header_->id, offset);
  if (!length || *length > size_ - offset - kBlockHead) return std::nullopt;
  TRY(BytesView sealed, read(offset + kBlockHead, *length));
  return open_block(sealed, keys_->journal(), volume_, header_->id, offset);
}

Result<BytesView> JournalReader::read(uint64_t offset, size_t length) {
  length = std::min<uint64_t>(length, size_ - std::min(offset, size_));
  if (offset < buffer_at_ || offset + length > buffer_at_ + buffer_.size()) {
    buffer_.resize(std::min<uint64_t>(std::max(length, kReadAhead), size_ - std::min(offset, size_)));
    buffer_at_ = offset;
    TRYV(read_at(*fd_, buffer_, offset));
  }
  return BytesView(buffer_).subspan(offset - buffer_at_, length);
}

}  // namespace coffer
