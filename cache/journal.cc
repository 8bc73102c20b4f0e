#include "cache/journal.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/mutex.h"
#include "cache/journal_block.h"
#include "cache/journal_file.h"
#include "cache/journal_replay.h"

namespace coffer {
namespace {

constexpr size_t kSmallFile = 32 << 10;  // what a journal file has room for at least, on a full disk

}  // namespace

// Two rights, each held by at most one thread: to write (queue -> file; flush and sync take it) and to sync
// (before_sync, write, fdatasync). So a flush does not wait for an fdatasync, and blocks are in the file in the order
// of the queue.
struct Journal::Impl {
  Impl(std::string d, const VolumeId& v, const LocalKeys& k, Options o)
      : dir(std::move(d)), volume(v), keys(k), options(std::move(o)) {}

  // Writes all queued entries up to `target`, which ends a block.
  Result<void> write_up_to(Lsn target) EXCLUDES(mutex);
  // Only by the holder of the right to write.
  Result<void> write_block(JournalBlock& block, Lsn durable_now) EXCLUDES(mutex);
  Result<void> switch_file(Lsn first, size_t room) EXCLUDES(mutex);
  Lsn append(std::span<const BytesView> payload) EXCLUDES(mutex);
  // What a sync does without the lock.
  Result<void> make_durable(Lsn target) EXCLUDES(mutex);
  Result<void> sync_files() EXCLUDES(mutex);

  // Constant after construction.
  const std::string dir;
  const VolumeId volume;
  const LocalKeys& keys;
  const Options options;

  // Belongs to the holder of the right to write.
  std::optional<JournalFile> current;

  mutable Mutex mutex{Rank::kJournal};
  CondVar changed;  // either right is given back
  bool writing GUARDED_BY(mutex) = false;
  bool syncing GUARDED_BY(mutex) = false;
  std::deque<JournalBlock> queue GUARDED_BY(mutex);
  bool filling GUARDED_BY(mutex) = false;  // the last block of the queue takes more entries
  size_t queued GUARDED_BY(mutex) = 0;
  Lsn last GUARDED_BY(mutex) = 0;
  Lsn durable GUARDED_BY(mutex) = 0;
  std::optional<Error> broken GUARDED_BY(mutex);                      // fdatasync failed
  std::deque<Lsn> files GUARDED_BY(mutex);                            // first lsns, ascending
  std::vector<std::shared_ptr<const Fd>> unsynced GUARDED_BY(mutex);  // files with bytes that no fdatasync covers
  std::atomic<uint64_t> syncs{0};
};

// --- Writing ---

Result<void> Journal::Impl::write_up_to(Lsn target) {
  std::deque<JournalBlock> batch;
  Lsn durable_now;
  {
    MutexLock lock(mutex);
    while (writing) changed.wait(mutex);
    while (!queue.empty() && queue.front().first() <= target) {
      batch.push_back(std::move(queue.front()));
      queue.pop_front();
    }
    if (batch.empty()) return {};
    assert(!filling || !queue.empty());  // the caller has ended the last block that it wants written
    durable_now = durable;
    writing = true;
  }
  Result<void> result;
  size_t written = 0, n = 0;
  for (; n < batch.size(); ++n) {
    result = write_block(batch[n], durable_now);
    if (!result) break;
    written += batch[n].payload();
  }
  if (result) result = failpoint("journal.write.after");
  MutexLock lock(mutex);
  writing = false;
  queued -= written;
  for (size_t i = batch.size(); i-- > n;) queue.push_front(std::move(batch[i]));
  changed.notify_all();
  return result;
}

Result<void> Journal::Impl::write_block(JournalBlock& block, Lsn durable_now) {
  if (!block.sealed()) {
    if (!current || current->offset + block.disk_size() > current->size)
      TRYV(switch_file(block.first(), block.disk_size()));
    block.seal(keys.journal(), volume, current->header.id, current->offset, durable_now);
  }
  // A sealed block is one whose write failed: it was the last that got a place, so that place is still where we are.
  TRYV(failpoint("journal.write"));
  if (auto r = write_at(*current->fd, block.bytes(), current->offset); !r) return fail(r.error().in("journal"));
  current->offset += block.disk_size();
  MutexLock lock(mutex);
  if (unsynced.empty() || unsynced.back() != current->fd) unsynced.push_back(current->fd);
  return {};
}

Result<void> Journal::Impl::switch_file(Lsn first, size_t room) {
  const uint64_t least = kJournalGrain + std::max(room, kSmallFile);
  TRY(JournalFile next, prepare_journal_file(dir, first, std::max<uint64_t>(options.file_size, least), least));
  TRYV(publish_journal_file(dir, next));
  current = std::move(next);
  MutexLock lock(mutex);
  files.push_back(first);
  return {};
}

Lsn Journal::Impl::append(std::span<const BytesView> payload) {
  size_t size = 0;
  for (BytesView part : payload) size += part.size();
  MutexLock lock(mutex);
  const Lsn lsn = ++last;
  if (!filling || queue.back().payload() + size > options.block_payload) {
    queue.emplace_back(lsn, std::max(size + 10, options.block_payload));
    filling = true;
  }
  size_t before = queue.back().payload();
  queue.back().add(payload);
  queued += queue.back().payload() - before;
  return lsn;
}

// --- Syncing ---

Result<void> Journal::Impl::make_durable(Lsn target) {
  if (options.before_sync) {
    TRY(Bytes entry, options.before_sync());
    if (!entry.empty()) {
      const BytesView view(entry);
      target = append(std::span(&view, 1));
      MutexLock lock(mutex);
      filling = false;
    }
  }
  TRYV(write_up_to(target));
  return sync_files();
}

Result<void> Journal::Impl::sync_files() {
  std::vector<std::shared_ptr<const Fd>> fds;
  {
    MutexLock lock(mutex);
    fds = std::exchange(unsynced, {});
  }
  for (const auto& fd : fds) {
    ++syncs;
    Result<void> r = failpoint("journal.sync");
    if (r) r = sync_data(*fd);
    if (!r) {
      // The kernel may have dropped what it could not write and call the pages clean: trying again would lie.
      MutexLock lock(mutex);
      broken = r.error().in("the journal is not durable any more");
      return fail(*broken);
    }
  }
  return failpoint("journal.sync.after");
}

// --- The interface ---

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Journal::~Journal() {
  // An unmounted volume need not keep the room for entries that will never come.
  if (impl_->current) (void)::ftruncate(impl_->current->fd->get(), static_cast<off_t>(impl_->current->offset));
  (void)::unlink(spare_journal_path(impl_->dir).c_str());
  (void)::unlink(next_journal_path(impl_->dir).c_str());
}

Result<std::unique_ptr<Journal>> Journal::open(const std::string& dir, const VolumeId& volume, const LocalKeys& keys,
                                               Options options) {
  TRYV(make_directories(dir));
  return std::unique_ptr<Journal>(new Journal(std::make_unique<Impl>(dir, volume, keys, std::move(options))));
}

Result<void> Journal::replay(Lsn after, const Entry& entry) {
  TRY(JournalReplay found, replay_journal(impl_->dir, impl_->volume, impl_->keys, after, entry));
  MutexLock lock(impl_->mutex);
  impl_->last = found.last;
  impl_->durable = after;
  impl_->files.assign(found.files.begin(), found.files.end());
  impl_->unsynced = std::move(found.open);
  return {};
}

Result<void> Journal::peek(Lsn after, const Entry& entry) const {
  return peek_journal(impl_->dir, impl_->volume, impl_->keys, after, entry);
}

Lsn Journal::append(std::span<const BytesView> payload) { return impl_->append(payload); }

Result<void> Journal::flush() {
  Lsn target;
  {
    MutexLock lock(impl_->mutex);
    target = impl_->last;
    impl_->filling = false;
  }
  return impl_->write_up_to(target);
}

Result<void> Journal::sync(Lsn lsn) {
  Lsn target;
  {
    MutexLock lock(impl_->mutex);
    lsn = std::min(lsn, impl_->last);
    for (;;) {
      if (impl_->broken) return fail(*impl_->broken);
      if (impl_->durable >= lsn) return {};
      if (!impl_->syncing) break;
      impl_->changed.wait(impl_->mutex);
    }
    impl_->syncing = true;
    // Entries that come from now on may refer to what before_sync does not cover: they go into another block.
    target = impl_->last;
    impl_->filling = false;
  }
  auto result = impl_->make_durable(target);
  MutexLock lock(impl_->mutex);
  impl_->syncing = false;
  if (result) impl_->durable = std::max(impl_->durable, target);
  impl_->changed.notify_all();
  return result;
}

Result<void> Journal::release(Lsn lsn) {
  for (;;) {
    Lsn first;
    {
      MutexLock lock(impl_->mutex);
      if (impl_->files.size() < 2 || impl_->files[1] > lsn + 1) return {};
      first = impl_->files.front();
      impl_->files.pop_front();
    }
    const std::string path = journal_path(impl_->dir, first), spare = spare_journal_path(impl_->dir);
    // Overwriting a file is cheaper to sync than filling a new one: the file system has nothing to note down.
    if (::rename(path.c_str(), spare.c_str()) != 0 && errno != ENOENT) return fail(errno_error(path, errno));
  }
}

Lsn Journal::last_lsn() const {
  MutexLock lock(impl_->mutex);
  return impl_->last;
}

Lsn Journal::durable_lsn() const {
  MutexLock lock(impl_->mutex);
  return impl_->durable;
}

size_t Journal::queued_bytes() const {
  MutexLock lock(impl_->mutex);
  return impl_->queued;
}

uint64_t Journal::syncs() const { return impl_->syncs; }

}  // namespace coffer
