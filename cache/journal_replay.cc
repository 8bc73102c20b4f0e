#include "cache/journal_replay.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace coffer {
namespace {

// A place in the journal: the offset of a block in one of the files.
struct Place {
  size_t file = 0;
  uint64_t offset = kJournalGrain;
};

class Replay {
 public:
  Replay(const std::string& dir, const VolumeId& volume, const LocalKeys& keys, Lsn after, const Journal::Entry& entry)
      : dir_(dir), volume_(volume), keys_(keys), need_(after + 1), entry_(entry) {}

  Result<JournalReplay> run();
  // Only the walk.
  Result<void> look();

 private:
  // The place of the first block from `from` on that is intact and not superseded; nullopt when there is none.
  struct Found {
    Place place;
    OpenedBlock block;
  };
  Result<std::optional<Found>> find_block(Place from);
  Result<std::optional<OpenedBlock>> block_at(Place place);
  // False when `entry_` refused one.
  Result<bool> give_out(const OpenedBlock& block);
  Result<void> walk();
  // Whether the walk may go on at `found`, the first intact block after `end_`. kCorrupt: something durable is lost.
  Result<bool> may_go_on(const Found& found);
  // Whether `found` or an intact block behind it was written by somebody who knew need_ to be durable.
  Result<bool> was_durable(const Found& found);
  std::unexpected<Error> damage(std::string_view what) const;
  // Makes sure that nothing behind `end_` is ever read again.
  Result<void> cut();
  // Puts the entries of `refused_` before need_ into a file of their own, which supersedes the block.
  Result<void> keep_part_of_block();

  const std::string& dir_;
  const VolumeId& volume_;
  const LocalKeys& keys_;
  Lsn need_;  // the next lsn to give out
  const Journal::Entry& entry_;

  std::vector<Lsn> files_;
  std::vector<JournalReader> readers_;
  Place end_;                           // behind the last block that was given out as a whole
  std::optional<OpenedBlock> refused_;  // the block at `end_` of which `entry_` refused the entry need_
};

Result<void> Replay::look() {
  TRY(files_, list_journal_files(dir_));
  for (Lsn first : files_) {
    TRY(JournalReader reader, JournalReader::open(dir_, first, volume_, keys_));
    readers_.push_back(std::move(reader));
  }
  return walk();
}

Result<JournalReplay> Replay::run() {
  TRYV(look());
  TRYV(cut());
  JournalReplay result;
  result.last = need_ - 1;
  result.files = files_;
  for (const JournalReader& reader : readers_) result.open.push_back(reader.fd());
  return result;
}

Result<std::optional<OpenedBlock>> Replay::block_at(Place place) {
  TRY(auto block, readers_[place.file].block(place.offset));
  // The next file took over from here: this block was being cut off when a crash came.
  if (block && place.file + 1 < files_.size() && block->first >= files_[place.file + 1]) return std::nullopt;
  return block;
}

Result<std::optional<Replay::Found>> Replay::find_block(Place from) {
  for (; from.file < readers_.size(); from = {from.file + 1, kJournalGrain}) {
    for (; from.offset < readers_[from.file].size(); from.offset += kJournalGrain) {
      TRY(auto block, block_at(from));
      if (block) return Found{from, std::move(*block)};
    }
  }
  return std::nullopt;
}

Result<bool> Replay::give_out(const OpenedBlock& block) {
  for (Lsn lsn = std::max(need_, block.first); lsn < block.end(); ++lsn) {
    TRY(bool taken, entry_(lsn, block.entries[lsn - block.first]));
    if (!taken) return false;
    need_ = lsn + 1;
  }
  return true;
}

Result<void> Replay::walk() {
  if (readers_.empty()) return {};
  for (;;) {
    TRY(auto found, find_block(end_));
    if (!found) return {};
    TRY(bool go_on, may_go_on(*found));
    if (!go_on) return {};
    end_ = found->place;
    TRY(bool whole, give_out(found->block));
    if (!whole) {
      TRY(bool durable, was_durable(*found));
      if (durable) return damage("was durable, and what it names did not survive");
      refused_ = std::move(found->block);
      return {};
    }
    end_.offset += found->block.disk_size;
  }
}

Result<bool> Replay::may_go_on(const Found& found) {
  // Blocks that LMDB has already may be missing.
  if (found.block.first <= need_) return true;
  // Entries from need_ on are missing. That is a torn tail, unless somebody knew them to be durable.
  TRY(bool durable, was_durable(found));
  if (!durable) return false;
  return damage("was durable and is not there any more");
}

Result<bool> Replay::was_durable(const Found& found) {
  Place place = found.place;
  Lsn durable = found.block.durable;
  while (durable < need_) {
    place.offset += kJournalGrain;
    TRY(auto later, find_block(place));
    if (!later) return false;
    place = later->place;
    durable = later->block.durable;
  }
  return true;
}

std::unexpected<Error> Replay::damage(std::string_view what) const {
  return fail(Code::kCorrupt, "journal file " + journal_path(dir_, files_[end_.file]) + ": damaged at offset " +
                                  std::to_string(end_.offset) + ": entry " + std::to_string(need_) + " " +
                                  std::string(what));
}

Result<void> Replay::cut() {
  if (files_.empty()) return {};
  // The newest first: what a crash leaves of them then still follows the same end.
  bool names_changed = false;
  auto remove_last = [&]() -> Result<void> {
    std::string path = journal_path(dir_, files_.back());
    if (::unlink(path.c_str()) != 0) return fail(errno_error(path, errno));
    files_.pop_back();
    readers_.pop_back();
    names_changed = true;
    return {};
  };
  while (files_.size() > end_.file + 1) TRYV(remove_last());
  if (names_changed) TRYV(sync_directory(dir_));

  const bool part = refused_ && refused_->first < need_;
  if (end_.offset == kJournalGrain) {
    // Nothing is left of this file; a part of its first block takes over its name.
    if (part) {
      files_.pop_back();
      readers_.pop_back();
      return keep_part_of_block();
    }
    TRYV(remove_last());
    return sync_directory(dir_);
  }
  if (part) TRYV(keep_part_of_block());
  const Fd& fd = *readers_[end_.file].fd();
  if (readers_[end_.file].size() > end_.offset) {
    if (::ftruncate(fd.get(), static_cast<off_t>(end_.offset)) != 0) return fail(errno_error("ftruncate", errno));
    TRYV(sync_data(fd));
  }
  return {};
}

Result<void> Replay::keep_part_of_block() {
  JournalBlock block(refused_->first, refused_->plain.size());
  for (Lsn lsn = refused_->first; lsn < need_; ++lsn) block.add(refused_->entries[lsn - refused_->first]);
  const uint64_t size = kJournalGrain + block.disk_size();
  TRY(JournalFile file, prepare_journal_file(dir_, block.first(), size, size));
  block.seal(keys_.journal(), volume_, file.header.id, file.offset, refused_->durable);
  TRYV(write_at(*file.fd, block.bytes(), file.offset));
  if (::ftruncate(file.fd->get(), static_cast<off_t>(size)) != 0) return fail(errno_error("ftruncate", errno));
  TRYV(publish_journal_file(dir_, file));
  files_.push_back(block.first());
  return {};
}

}  // namespace

Result<JournalReplay> replay_journal(const std::string& dir, const VolumeId& volume, const LocalKeys& keys, Lsn after,
                                     const Journal::Entry& entry) {
  return Replay(dir, volume, keys, after, entry).run();
}

Result<void> peek_journal(const std::string& dir, const VolumeId& volume, const LocalKeys& keys, Lsn after,
                          const Journal::Entry& entry) {
  return Replay(dir, volume, keys, after, entry).look();
}

}  // namespace coffer
