// Contents of files: gathering what is written, sealing it into frames, and putting reads together from frames, holes and
// what is not sealed yet.
#include <algorithm>
#include <cstring>
#include <new>

#include "crypto/random.h"
#include "fs/replica/impl.h"

namespace coffer {

using model::Extent;
using model::Inode;

namespace {

constexpr size_t kSealFrom = 1 << 20;  // a file with this much written data has its whole frames sealed
constexpr auto kKeysComeWithin = std::chrono::seconds(5);
constexpr int kReadAttempts = 4;  // a frame can move between looking it up and reading it

// PackStore::append(), which throws nothing.
Result<FrameRef> append_frame(PackStore& packs, BytesView plain, PackStore::Use use) {
  try {
    return packs.append(plain, use);
  } catch (const std::bad_alloc&) {
    return fail(Code::kNoSpace, "out of memory");
  }
}

}  // namespace

std::shared_ptr<WrittenFile> Replica::Impl::find_file(Ino ino) {
  if (file_count.load() == 0) return nullptr;
  MutexLock lock(files_mutex);
  auto it = files.find(ino);
  return it == files.end() ? nullptr : it->second;
}

std::shared_ptr<WrittenFile> Replica::Impl::find_or_make_file(Ino ino) {
  MutexLock lock(files_mutex);
  auto& slot = files[ino];
  if (!slot) {
    slot = std::make_shared<WrittenFile>();
    file_count = files.size();
    slot->since = options.clock->monotonic();
    dirty_since.emplace_back(slot->since, ino);
  }
  return slot;
}

void Replica::Impl::remove_if_clean(Ino ino, WrittenFile& file) {
  if (!file.buffer.empty()) return;
  file.gone = true;
  MutexLock lock(files_mutex);
  files.erase(ino);
  file_count = files.size();
}

void Replica::Impl::overlay(Ino ino, Inode& inode, uint64_t drops_before) {
  if (!inode.is_regular()) return;
  // What was sealed after the rows were read is neither in them nor in memory any more.
  auto look_again = [&] {
    if (unnamed_count.load() == 0 && drops.load() == drops_before) return;
    SharedLock rows(state);
    if (auto fresh = model::get_inode(*known_rows, ino)) inode = std::move(*fresh);
    auto sealed = unnamed.find(ino);
    if (sealed == unnamed.end()) return;
    for (const Sealed& s : sealed->second) {
      inode.size = std::max(inode.size, s.end);
      if (!s.keep_times && s.when > inode.mtime) inode.mtime = inode.ctime = s.when;
    }
  };
  auto file = find_file(ino);
  if (!file) return look_again();
  MutexLock lock(file->mutex);
  look_again();
  if (file->gone) return;
  inode.size = std::max(inode.size, file->buffer.end());
  if (!file->keep_times && file->written > inode.mtime) inode.mtime = inode.ctime = file->written;
}

Result<void> Replica::Impl::name_sealed(Ino ino, uint64_t last) {
  auto at = unnamed.find(ino);
  if (at == unnamed.end()) return {};
  auto& sealed = at->second;
  const auto end = std::ranges::find_if(sealed, [last](const Sealed& s) { return s.number > last; });
  if (end == sealed.begin()) return {};
  model::Transaction tx(*known_rows, *touched);
  std::vector<Extent> extents;
  for (auto s = sealed.begin(); s != end; ++s) {
    auto put = model::put_extents(tx, ino, s->extents, s->end, random_u64(), s->when, s->keep_times);
    // Stale: erased meanwhile, nobody misses the data.
    if (!put && put.error().code() != Code::kStale) return fail(put.error());
    if (put) extents.insert(extents.end(), s->extents.begin(), s->extents.end());
  }
  if (std::prev(end)->number > sealed_durable) packs->use_unsynced();
  TRYV(commit(tx, extents));
  sealed.erase(sealed.begin(), end);
  ++drops;
  if (sealed.empty()) unnamed.erase(at);
  unnamed_count = unnamed.size();
  return {};
}

Result<void> Replica::Impl::name_all_sealed(uint64_t last) {
  std::vector<Ino> inos;
  for (const auto& [ino, sealed] : unnamed) inos.push_back(ino);
  for (Ino ino : inos) TRYV(name_sealed(ino, last));
  return {};
}

Result<void> Replica::Impl::settle(Ino ino) {
  if (unnamed_count.load() == 0) return {};
  {
    SharedLock lock(state);
    if (!unnamed.contains(ino)) return {};
  }
  ExclusiveLock lock(state);
  return name_sealed(ino);
}

Result<void> Replica::Impl::sync_sealed() {
  uint64_t last;
  {
    SharedLock lock(state);
    last = sealed_last;
  }
  // A failure of the disk is for the next fsync to tell.
  auto synced = packs->sync();
  ExclusiveLock lock(state);
  if (synced) sealed_durable = std::max(sealed_durable, last);
  TRYV(name_all_sealed(last));
  return synced;
}

Result<void> Replica::Impl::seal(Ino ino, WrittenFile& file, bool all) {
  auto pieces = file.buffer.pieces(all);
  if (pieces.empty()) return all ? settle(ino) : Result<void>{};
  {
    SharedLock generation(freeze);
    std::vector<Extent> extents;
    extents.reserve(pieces.size());
    uint64_t end = 0;
    std::vector<Result<FrameRef>> sealed_frames(pieces.size());
    const auto use = all ? PackStore::Use::kAtOnce : PackStore::Use::kAfterSync;
    seal_helpers.run(pieces.size(), [&](size_t i) { sealed_frames[i] = append_frame(*packs, pieces[i].bytes, use); });
    for (size_t i = 0; i < pieces.size(); ++i) {
      TRY(FrameRef frame, sealed_frames[i]);
      uint32_t length = static_cast<uint32_t>(pieces[i].bytes.size());
      extents.push_back({pieces[i].offset, length, 0, length, frame});
      end = pieces[i].offset + length;
    }
    WallTime when = file.keep_times || file.written.ns == 0 ? now() : file.written;
    ExclusiveLock lock(state);
    if (all) {
      TRYV(name_sealed(ino));
      model::Transaction tx(*known_rows, *touched);
      auto put = model::put_extents(tx, ino, extents, end, random_u64(), when, file.keep_times);
      if (put) {
        TRYV(commit(tx, extents));
      } else if (put.error().code() != Code::kStale) {  // stale: erased meanwhile, nobody misses the data
        return fail(put.error());
      }
    } else {
      unnamed[ino].push_back({++sealed_last, std::move(extents), end, when, file.keep_times});
      unnamed_count = unnamed.size();
    }
  }
  std::vector<std::pair<uint64_t, uint64_t>> sealed;  // adjacent pieces go in one step
  for (const WriteBuffer::Piece& p : pieces) {
    if (sealed.empty() || sealed.back().second != p.offset) sealed.emplace_back(p.offset, p.offset);
    sealed.back().second += p.bytes.size();
  }
  for (auto [from, to] : sealed) drop_written(file, from, to - from);
  remove_if_clean(ino, file);
  if (packs->unsynced_bytes() > kUnsyncedFrom) {
    MutexLock lock(work_mutex);
    seal_wanted = true;
    work_wake.notify_all();
  }
  return {};
}

Result<void> Replica::Impl::seal_file(Ino ino) {
  auto file = find_file(ino);
  if (!file) return settle(ino);
  TRYV(with_reserve([&]() -> Result<void> {
    MutexLock lock(file->mutex);
    return file->gone ? settle(ino) : seal(ino, *file, true);
  }));
  tell_pending();
  return {};
}

Result<void> Replica::Impl::seal_everything(bool with_unlinked) {
  std::vector<Ino> inos;
  {
    MutexLock lock(files_mutex);
    inos.reserve(files.size());
    for (const auto& [since, ino] : dirty_since) inos.push_back(ino);  // in the order of writing: neighbours stay so
    // One that seal_loop() is about to seal has no entry now, and is waited for at its mutex.
    const std::set<Ino> listed(inos.begin(), inos.end());
    for (const auto& [ino, file] : files)
      if (!listed.contains(ino)) inos.push_back(ino);
  }
  for (Ino ino : inos) {
    if (!with_unlinked) {
      SharedLock lock(state);
      if (orphans.contains(ino)) continue;
    }
    TRYV(seal_file(ino));
  }
  if (unnamed_count.load() == 0) return {};
  ExclusiveLock lock(state);
  return name_all_sealed();
}

void Replica::Impl::drop_written(Ino ino) {
  auto file = find_file(ino);
  if (!file) return;
  MutexLock lock(file->mutex);
  if (file->gone) return;
  drop_written(*file, 0, UINT64_MAX);
  remove_if_clean(ino, *file);
}

void Replica::Impl::drop_written(WrittenFile& file, uint64_t offset, uint64_t length) {
  const size_t before = file.buffer.bytes();
  file.buffer.erase(offset, length);
  dirty_bytes -= before - file.buffer.bytes();
  ++drops;
}

Result<void> Replica::write(Ino ino, uint64_t offset, BytesView data, bool keep_times) {
  if (offset > model::kSizeMax || data.size() > model::kSizeMax - offset)
    return fail(Code::kTooLarge, "write beyond the largest file size");
  TRYV(impl_->need_contents(ino));
  TRYV(impl_->space->admit(data.size()));
  TRYV(impl_->throttle());
  for (;;) {
    auto file = impl_->find_or_make_file(ino);
    MutexLock lock(file->mutex);
    if (file->gone) continue;
    size_t before = file->buffer.bytes();
    file->buffer.write(offset, data);
    impl_->dirty_bytes += file->buffer.bytes() - before;
    file->keep_times = keep_times;
    file->written = impl_->now();
    bool tight = impl_->dirty_bytes.load() > impl_->options.dirty_limit;
    if (tight || file->buffer.bytes() >= kSealFrom) {
      if (auto sealed = impl_->seal(ino, *file, tight); !sealed) {
        // No room: the data stays in memory for as long as there is memory for it; this write is refused only then.
        if (tight) {
          impl_->drop_written(*file, offset, data.size());
          impl_->remove_if_clean(ino, *file);
          return sealed;
        }
      }
    }
    break;
  }
  impl_->tell_pending();
  return {};
}

template <typename Op>
Result<void> Replica::Impl::change_contents(Ino ino, Op&& op) {
  TRYV(need_contents(ino));
  TRYV(throttle());
  for (;;) {
    auto file = find_or_make_file(ino);
    MutexLock lock(file->mutex);
    if (file->gone) continue;
    auto result = [&]() -> Result<void> {
      ExclusiveLock rows(state);
      TRYV(name_sealed(ino));
      model::Transaction tx(*known_rows, *touched);
      TRYV(op(tx, *file));
      return commit(tx);
    }();
    remove_if_clean(ino, *file);
    if (!result) return result;
    break;
  }
  tell_pending();
  return {};
}

Result<void> Replica::truncate(Ino ino, uint64_t size) {
  if (size > model::kSizeMax) return fail(Code::kTooLarge, "file size");
  return impl_->change_contents(
      ino, [&](model::Transaction& tx, WrittenFile& file) NO_THREAD_SAFETY_ANALYSIS -> Result<void> {
        TRYV(model::truncate(tx, ino, size, random_u64(), impl_->now()));
        impl_->drop_written(file, size, UINT64_MAX - size);
        return {};
      });
}

Result<void> Replica::punch_hole(Ino ino, uint64_t offset, uint64_t length) {
  return impl_->change_contents(
      ino, [&](model::Transaction& tx, WrittenFile& file) NO_THREAD_SAFETY_ANALYSIS -> Result<void> {
        TRY(Inode inode, model::get_inode(tx, ino));
        // The hole must not shrink what the unsealed data had grown the file to.
        uint64_t size = std::max(inode.size, file.buffer.end());
        if (size > inode.size) TRYV(model::put_extents(tx, ino, {}, size, random_u64(), impl_->now(), false));
        TRYV(model::punch_hole(tx, ino, offset, length, random_u64(), impl_->now()));
        impl_->drop_written(file, offset, length);
        return {};
      });
}

Result<uint64_t> Replica::copy_range(Ino from, uint64_t from_offset, Ino to, uint64_t to_offset, uint64_t length,
                                     bool keep_times) {
  length = std::min(length, kCopyMost);  // the rows are locked meanwhile
  TRYV(impl_->need_contents(from));
  TRYV(impl_->seal_file(from));
  uint64_t copied = 0;
  TRYV(impl_->change_contents(
      to, [&](model::Transaction& tx, WrittenFile& file) NO_THREAD_SAFETY_ANALYSIS -> Result<void> {
        TRY(copied,
            model::copy_range(tx, from, from_offset, to, to_offset, length, random_u64(), impl_->now(), keep_times));
        impl_->drop_written(file, to_offset, copied);
        return {};
      }));
  return copied;
}

Result<void> Replica::allocate(Ino ino, uint64_t offset, uint64_t length) {
  if (offset > model::kSizeMax || length > model::kSizeMax - offset) return fail(Code::kTooLarge, "file size");
  return impl_->change_contents(ino, [&](model::Transaction& tx, WrittenFile&) -> Result<void> {
    TRY(Inode inode, model::get_inode(tx, ino));
    if (inode.size >= offset + length) return {};
    TRYV(model::put_extents(tx, ino, {}, offset + length, random_u64(), impl_->now(), false));
    return {};
  });
}

Result<uint64_t> Replica::seek_data(Ino ino, uint64_t offset) {
  TRYV(impl_->seal_file(ino));
  SharedLock lock(impl_->state);
  return model::seek_data(*impl_->known_rows, ino, offset);
}

Result<uint64_t> Replica::seek_hole(Ino ino, uint64_t offset) {
  TRYV(impl_->seal_file(ino));
  SharedLock lock(impl_->state);
  return model::seek_hole(*impl_->known_rows, ino, offset);
}

bool Replica::Impl::keys_may_come() {
  const auto now = std::chrono::steady_clock::now();
  MutexLock lock(no_key_mutex);
  if (const size_t keys_now = keys.epochs->size(); keys_now != no_key_with) {
    no_key_with = keys_now;
    no_key_since = now;
  }
  return now - no_key_since < kKeysComeWithin;
}

// Fills `out` with the extent's bytes; adds to `missing` instead when they are not here.
Result<void> Replica::Impl::read_extent(const Extent& e, MutableBytes out, std::vector<Missing>& missing) {
  bool whole = e.skip == 0 && e.length == e.frame_length;
  auto cached = whole ? nullptr : frames.get(e.frame);
  if (!cached) {
    // Not zeroed: a failed read is not shown to anybody.
    auto plain = whole ? nullptr : std::make_shared_for_overwrite<uint8_t[]>(e.frame_length);
    Result<void> read = packs->read(e.frame, whole ? out : MutableBytes(plain.get(), e.frame_length));
    if (!read && read.error().code() == Code::kCorrupt) {
      // A cached range that does not open is dropped and fetched again; only the store's copy can be damage. What no store
      // has yet is damage here. What was sealed so (under a key that is not here) comes from the store as it is.
      auto sealed_so = packs->has_hash(e.frame);
      // It may have gone since.
      if (!sealed_so && sealed_so.error().code() != Code::kNotFound) return fail(sealed_so.error());
      if (sealed_so && *sealed_so && !keys_may_come()) return read;
      TRY(auto place, known_rows->get(place_key(e.frame.pack)));
      if (!place) return fail(read.error().in("pack " + e.frame.pack.str() + ", not uploaded yet"));
      TRYV(packs->drop_range(e.frame.pack, e.frame.offset, e.frame.length));
      missing.push_back({e});
      return {};
    }
    if (!read && read.error().code() == Code::kNotFound) {
      missing.push_back({e});
      return {};
    }
    if (!read) return read;
    if (whole) return {};
    cached = std::move(plain);
    frames.put(e.frame, cached, e.frame_length);
  }
  std::memcpy(out.data(), cached.get() + e.skip, e.length);
  return {};
}

Result<Replica::ReadOutcome> Replica::read(Ino ino, uint64_t offset, MutableBytes out) {
  Impl& r = *impl_;
  for (int attempt = 1;; ++attempt) {
    ReadOutcome outcome;
    std::vector<Extent> extents;
    std::vector<WriteBuffer::Copy> unsealed;
    auto look = [&](const WriteBuffer* written) -> Result<void> {
      SharedLock rows(r.state);
      TRY(Inode inode, model::get_inode(*r.known_rows, ino));
      uint64_t size = inode.size;
      if (written) size = std::max(size, written->end());
      if (offset >= size) return {};
      outcome.bytes = static_cast<size_t>(std::min<uint64_t>(out.size(), size - offset));
      if (written) unsealed = written->copy(offset, outcome.bytes);
      TRY(extents, model::extents(*r.known_rows, ino, offset, outcome.bytes));
      return {};
    };
    if (auto file = r.find_file(ino)) {
      MutexLock lock(file->mutex);
      TRYV(r.settle(ino));
      TRYV(look(&file->buffer));
    } else {
      TRYV(r.settle(ino));
      TRYV(look(nullptr));
    }
    if (outcome.bytes == 0) return outcome;
    // Zero what neither extents nor unsealed data will fill.
    uint64_t filled = offset;
    for (const Extent& e : extents) {
      if (e.offset > filled) std::memset(out.data() + (filled - offset), 0, e.offset - filled);
      filled = e.end();
    }
    uint64_t end = offset + outcome.bytes;
    if (end > filled) std::memset(out.data() + (filled - offset), 0, end - filled);
    for (const Extent& e : extents) {
      bool covered = std::any_of(unsealed.begin(), unsealed.end(), [&](const WriteBuffer::Copy& c) {
        return c.offset <= e.offset && c.offset + c.bytes.size() >= e.end();
      });
      if (covered) continue;
      TRYV(r.read_extent(e, out.subspan(static_cast<size_t>(e.offset - offset), e.length), outcome.missing));
    }
    if (!outcome.missing.empty()) {
      // Bytes that no store has and that are not here either: either the frame moved while we looked (look again), or they
      // are lost.
      bool lost = false;
      for (const Missing& m : outcome.missing) {
        TRY(auto place, r.known_rows->get(place_key(m.extent.frame.pack)));
        if (!place) lost = true;
      }
      if (lost) {
        if (attempt < kReadAttempts) continue;
        return fail(Code::kIo, "pack " + outcome.missing.front().extent.frame.pack.str() +
                                   " is neither on this machine nor in the store");
      }
      return outcome;
    }
    for (const WriteBuffer::Copy& c : unsealed)
      std::memcpy(out.data() + (c.offset - offset), c.bytes.data(), c.bytes.size());
    return outcome;
  }
}

Result<void> Replica::sync_file(Ino ino) {
  TRYV(impl_->seal_file(ino));
  return sync_all(false);
}

Result<void> Replica::sync_all(bool with_unsealed) {
  if (with_unsealed) TRYV(impl_->seal_everything());
  return impl_->sync_journal(impl_->journal->last_lsn());
}

}  // namespace coffer
