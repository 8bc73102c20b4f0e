// The files of a journal directory: names, making, reading. Internal to this layer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "cache/journal_block.h"

namespace coffer {

// The lsns in the names of a directory's files, ascending.
Result<std::vector<Lsn>> list_journal_files(const std::string& dir);
std::string journal_path(const std::string& dir, Lsn first);
// A released file that waits for its next life, and one that is getting ready for it; there is at most one of each.
std::string spare_journal_path(const std::string& dir);
std::string next_journal_path(const std::string& dir);

// A file that blocks are written to.
struct JournalFile {
  std::shared_ptr<const Fd> fd;
  JournalHeader header;
  uint64_t size = 0;    // preallocated
  uint64_t offset = 0;  // of the next block
};

// A file that starts with `first`, preallocated to `size` bytes in all, or `least` when the disk has no more, with its
// header: the spare one made anew, or a new one. It gets its name, replacing an older file of that name, and becomes
// durable with all that was written to it by publish_journal_file(); until then a crash leaves nothing that replay
// would look at. One thread at a time.
Result<JournalFile> prepare_journal_file(const std::string& dir, Lsn first, uint64_t size, uint64_t least);
Result<void> publish_journal_file(const std::string& dir, const JournalFile& file);

// A file that is read back.
class JournalReader {
 public:
  // A file without a proper header, or with that of another place, reads as one without intact blocks.
  static Result<JournalReader> open(const std::string& dir, Lsn first, const VolumeId& volume, const LocalKeys& keys);

  // The block at `offset`; nullopt when there is no intact one. kIo.
  Result<std::optional<OpenedBlock>> block(uint64_t offset);
  uint64_t size() const { return size_; }
  const std::shared_ptr<const Fd>& fd() const { return fd_; }

 private:
  JournalReader(std::shared_ptr<const Fd> fd, uint64_t size, std::optional<JournalHeader> header,
                const VolumeId& volume, const LocalKeys& keys)
      : fd_(std::move(fd)), size_(size), header_(header), volume_(volume), keys_(&keys) {}
  // Bytes of the file, through a read-ahead buffer; shorter at its end. Valid until the next call.
  Result<BytesView> read(uint64_t offset, size_t length);

  std::shared_ptr<const Fd> fd_;
  uint64_t size_;
  std::optional<JournalHeader> header_;
  VolumeId volume_;
  const LocalKeys* keys_;
  Bytes buffer_;
  uint64_t buffer_at_ = 0;
};

}  // namespace coffer
