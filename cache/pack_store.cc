#include "cache/pack_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mutex.h"
#include "cache/pack_files.h"
#include "cache/pack_index.h"
#include "crypto/associated_data.h"
#include "crypto/hash.h"
#include "crypto/padding.h"
#include "crypto/random.h"

namespace coffer {
namespace {

constexpr size_t kNonceSize = 24;
constexpr size_t kPaddingPiece = 256 << 10;  // random padding is written in pieces of this

std::unexpected<Error> absent(const ObjectId& pack) { return fail(Code::kNotFound, "pack " + pack.str()); }

bool all_zero(BytesView b) {
  return std::all_of(b.begin(), b.end(), [](uint8_t byte) { return byte == 0; });
}

// Whether a part of the sealed bytes at `offset` is a hole, given that they do not open: what is fetched and dropped are
// whole frames and whole cells of the grid, so a part within one cell is either wholly there or wholly zero.
bool touches_hole(BytesView sealed, uint64_t offset) {
  while (!sealed.empty()) {
    size_t n = std::min<size_t>(sealed.size(), kFetchGrid - offset % kFetchGrid);
    if (all_zero(sealed.first(n))) return true;
    sealed = sealed.subspan(n);
    offset += n;
  }
  return false;
}

std::vector<FrameRef> sorted_frames(const std::vector<IndexEntry>& index) {
  std::vector<FrameRef> frames;
  frames.reserve(index.size());
  for (const IndexEntry& e : index) frames.push_back(e.frame);
  std::sort(frames.begin(), frames.end());
  return frames;
}

// Where the frames that `index` names end.
uint64_t frames_end(const std::vector<IndexEntry>& index) {
  uint64_t end = 0;
  for (const IndexEntry& e : index) end = std::max(end, uint64_t{e.frame.offset} + e.frame.length);
  return end;
}

// Overwrites a range with random bytes.
Result<void> write_random(const Fd& fd, uint64_t from, uint64_t to) {
  Bytes piece;
  while (from < to) {
    piece.resize(std::min<uint64_t>(to - from, kPaddingPiece));
    random_bytes(piece);
    TRYV(write_at(fd, piece, from));
    from += piece.size();
  }
  return {};
}

// Fills the gaps that failed appends left before `end`: in a finished pack a hole means "not here".
Result<void> fill_holes(const Fd& fd, uint64_t end) {
  for (uint64_t from = 0; from < end;) {
    off_t hole = ::lseek(fd.get(), static_cast<off_t>(from), SEEK_HOLE);  // nobody else uses the file position
    if (hole < 0) return fail(errno_error("lseek", errno));
    if (static_cast<uint64_t>(hole) >= end) return {};
    off_t data = ::lseek(fd.get(), hole, SEEK_DATA);
    if (data < 0 && errno != ENXIO) return fail(errno_error("lseek", errno));
    from = data < 0 ? end : std::min(end, static_cast<uint64_t>(data));
    TRYV(write_random(fd, static_cast<uint64_t>(hole), from));
  }
  return {};
}

}  // namespace

struct PackStore::Impl {
  // A pack that takes frames, or did and is not finished. Fields are guarded by `mutex`.
  struct Unfinished {
    PackFilePtr file;
    // Kept from the making until the pack is closed and synced; null otherwise, and for packs of a former run: after
    // weeks offline there may be more of them than descriptors.
    std::shared_ptr<const Fd> fd;
    const EpochKeys* keys = nullptr;  // null: of a former run, look at its frames
    uint64_t end = 0;                 // bytes that appends have reserved; the file's size for a pack of a former run
    size_t in_flight = 0;             // appends that have reserved a place and not yet written it
    bool dirty = false;               // in `dirty_packs`
    bool finishing = false;           // a thread is in finish()
  };
  using UnfinishedPtr = std::shared_ptr<Unfinished>;

  // What an append has reserved.
  struct Place {
    UnfinishedPtr pack;
    std::shared_ptr<const Fd> fd;
    uint32_t offset = 0;
    uint32_t length = 0;
  };

  Impl(std::unique_ptr<PackFiles> f, const VolumeId& v, const KeyRing& k) : files(std::move(f)), volume(v), keys(k) {}

  Result<void> adopt_former_run();

  // The sealed bytes of a frame, as they are here; kNotFound also when they begin with a hole.
  Result<PackFilePtr> load(const FrameRef& ref, Bytes& sealed) const;
  Result<Place> reserve(uint32_t length) EXCLUDES(mutex);
  Result<UnfinishedPtr> make_pack() EXCLUDES(mutex);
  void make_spare() EXCLUDES(mutex);
  void complete(const Place& place, BytesView written, Use use) EXCLUDES(mutex);
  void close_open_pack() REQUIRES(mutex);

  Result<void> sync() EXCLUDES(mutex);
  Result<void> sync_files(const std::vector<UnfinishedPtr>& packs) EXCLUDES(mutex);
  Result<void> sync_file(const Fd& fd) EXCLUDES(mutex);

  // A descriptor of an unfinished pack; kNotFound when it was removed.
  Result<std::shared_ptr<const Fd>> fd_of(const UnfinishedPtr& pack) EXCLUDES(mutex);
  Result<uint64_t> finish(const UnfinishedPtr& pack, const std::vector<IndexEntry>& index) EXCLUDES(mutex);
  Result<uint64_t> write_end(const Fd& fd, const ObjectId& pack, uint64_t frames, const std::vector<IndexEntry>& index,
                             const EpochKeys& of_pack);
  // Those that an unfinished pack of a former run was begun with.
  Result<const EpochKeys*> keys_of_frames(const Fd& fd, const std::vector<IndexEntry>& index) const;
  // open_frame(), which remembers the keys of packs of earlier epochs.
  Result<void> open(const FrameRef& ref, BytesView sealed, MutableBytes plain) EXCLUDES(epochs_mutex);
  Result<std::vector<IndexEntry>> read_end(const Fd& fd, const ObjectId& pack) const;
  UnfinishedPtr find_unfinished(const ObjectId& pack) const EXCLUDES(mutex);

  const std::unique_ptr<PackFiles> files;
  const VolumeId volume;
  const KeyRing& keys;

  Mutex epochs_mutex{Rank::kLeaf};
  std::unordered_map<ObjectId, const EpochKeys*> epochs
      GUARDED_BY(epochs_mutex);  // of packs that were read; not the newest

  mutable Mutex mutex{Rank::kPacks};
  CondVar changed;  // anything below that somebody may wait for
  std::map<ObjectId, UnfinishedPtr> unfinished GUARDED_BY(mutex);
  UnfinishedPtr open_pack GUARDED_BY(mutex);            // null when there is none
  bool making GUARDED_BY(mutex) = false;                // a thread makes the next open pack
  UnfinishedPtr spare GUARDED_BY(mutex);                // the next open pack, empty; syncs make it
  bool spare_named GUARDED_BY(mutex) = false;           // its name is durable
  std::vector<UnfinishedPtr> closed GUARDED_BY(mutex);  // since the last rotate(), oldest first

  // Group sync. Rounds run one at a time; a caller is served by the first round that begins after it came.
  bool syncing GUARDED_BY(mutex) = false;
  uint64_t rounds_begun GUARDED_BY(mutex) = 0;
  uint64_t round_done GUARDED_BY(mutex) = 0;  // the last that succeeded
  std::vector<UnfinishedPtr> dirty_packs GUARDED_BY(mutex);
  bool names_dirty GUARDED_BY(mutex) = false;     // new/ has an entry that is not durable
  bool names_in_round GUARDED_BY(mutex) = false;  // the round under way makes some durable
  std::optional<Error> broken GUARDED_BY(mutex);  // fdatasync failed
  size_t unsynced GUARDED_BY(mutex) = 0;

  // What the journal may name and that is not durable anywhere.
  struct Recent {
    std::vector<RecentFrame> frames;  // none when `more`
    size_t bytes = 0;
    bool more = false;  // than is kept at hand, or something else

    void too_many() { *this = {{}, 0, true}; }
  };
  Recent recent GUARDED_BY(mutex);    // since the last round began
  Recent in_round GUARDED_BY(mutex);  // of the round under way: durable when it is done
  std::atomic<uint64_t> syncs{0};
};

// --- Appending ---

Result<void> PackStore::Impl::adopt_former_run() {
  for (const ObjectId& id : files->ids(/*unfinished_only=*/true)) {
    auto pack = std::make_shared<Unfinished>();
    pack->file = files->find(id);
    TRY(auto fd, files->fd(pack->file));
    TRY(pack->end, file_size(*fd));
    pack->dirty = true;
    MutexLock lock(mutex);
    dirty_packs.push_back(pack);
    unfinished[id] = std::move(pack);
    names_dirty = true;
    recent.too_many();
  }
  return {};
}

Result<PackStore::Impl::UnfinishedPtr> PackStore::Impl::make_pack() {
  TRYV(failpoint("pack.create"));
  auto pack = std::make_shared<Unfinished>();
  TRY(pack->file, files->create_unfinished(random_id<ObjectId>()));
  TRY(pack->fd, files->fd(pack->file));
  pack->keys = &keys.newest();
  return pack;
}

Result<PackStore::Impl::Place> PackStore::Impl::reserve(uint32_t length) {
  for (;;) {
    {
      MutexLock lock(mutex);
      while (making) changed.wait(mutex);
      if (open_pack && open_pack->keys != &keys.newest()) close_open_pack();
      if (open_pack) {
        Place place{open_pack, open_pack->fd, static_cast<uint32_t>(open_pack->end), length};
        open_pack->end += length;
        ++open_pack->in_flight;
        if (open_pack->end >= kPackTarget) close_open_pack();
        return place;
      }
      if (spare) {
        open_pack = std::exchange(spare, nullptr);
        names_dirty |= !std::exchange(spare_named, false);
        open_pack->keys = &keys.newest();
        unfinished[open_pack->file->id()] = open_pack;
        continue;
      }
      making = true;
    }
    auto made = make_pack();
    MutexLock lock(mutex);
    making = false;
    changed.notify_all();
    if (!made) return fail(std::move(made).error());
    open_pack = *made;
    unfinished[open_pack->file->id()] = open_pack;
    names_dirty = true;
  }
}

void PackStore::Impl::close_open_pack() {
  closed.push_back(std::move(open_pack));
  open_pack = nullptr;
}

// `written` is empty when that failed.
void PackStore::Impl::complete(const Place& place, BytesView written, Use use) {
  if (!written.empty()) {
    files->changed(place.pack->file);
    files->used(place.pack->file, place.offset, place.length);
  }
  MutexLock lock(mutex);
  Unfinished& pack = *place.pack;
  if (!written.empty()) {
    unsynced += place.length;
    if (use == Use::kAtOnce && !recent.more) {
      if (recent.bytes + written.size() > kRecentMost) {
        recent.too_many();
      } else {
        recent.bytes += written.size();
        recent.frames.push_back({pack.file->id(), place.offset, to_bytes(written)});
      }
    }
    if (!pack.dirty) {
      pack.dirty = true;
      dirty_packs.push_back(place.pack);
    }
  } else if (pack.end == uint64_t{place.offset} + place.length) {
    pack.end = place.offset;  // nobody came after: no gap
  }
  if (--pack.in_flight == 0) changed.notify_all();
}

// --- Group sync ---

// Without one, for want of room, whoever needs a pack makes it.
void PackStore::Impl::make_spare() {
  auto made = make_pack();
  if (!made) return;
  MutexLock lock(mutex);
  spare = std::move(*made);
}

Result<void> PackStore::Impl::sync() {
  std::vector<UnfinishedPtr> packs;
  bool names, no_spare, name_spare;
  uint64_t round;
  size_t bytes;
  {
    MutexLock lock(mutex);
    const uint64_t mine = rounds_begun + 1;
    for (;;) {
      if (broken) return fail(*broken);
      if (round_done >= mine) return {};
      if (!syncing) break;
      changed.wait(mutex);
    }
    if (dirty_packs.empty() && !names_dirty) {
      recent = {};
      return {};
    }
    syncing = true;
    round = ++rounds_begun;
    packs = std::exchange(dirty_packs, {});
    for (const UnfinishedPtr& pack : packs) pack->dirty = false;
    no_spare = !spare;
    name_spare = !spare_named;
    names = std::exchange(names_dirty, false);
    names_in_round = names;
    bytes = unsynced;
    in_round = std::exchange(recent, {});
  }
  if (no_spare) make_spare();
  Result<void> result;
  if (names || name_spare) {
    result = files->sync_new();
    MutexLock lock(mutex);
    spare_named = result && spare;
    if (result) names_in_round = false;
  }
  if (result) result = sync_files(packs);

  MutexLock lock(mutex);
  syncing = false;
  names_in_round = false;
  in_round = {};
  if (result) {
    round_done = round;
    unsynced -= bytes;
    for (const UnfinishedPtr& pack : packs)
      if (pack != open_pack && pack->in_flight == 0 && !pack->dirty) pack->fd = nullptr;
  } else {
    for (UnfinishedPtr& pack : packs) {
      if (std::exchange(pack->dirty, true)) continue;
      dirty_packs.push_back(std::move(pack));
    }
    names_dirty |= names;
    recent.too_many();
  }
  changed.notify_all();
  return result;
}

Result<void> PackStore::Impl::sync_files(const std::vector<UnfinishedPtr>& packs) {
  TRYV(failpoint("pack.sync"));
  for (const UnfinishedPtr& pack : packs) {
    auto fd = fd_of(pack);
    if (!fd && fd.error().code() == Code::kNotFound) continue;  // removed meanwhile: nobody wants it durable
    if (!fd) return fail(std::move(fd).error());
    TRYV(sync_file(**fd));
  }
  return failpoint("pack.sync.after");
}

Result<void> PackStore::Impl::sync_file(const Fd& fd) {
  ++syncs;
  auto result = sync_data(fd);
  if (!result) {
    // The kernel may have dropped what it could not write and call the pages clean: trying again would lie.
    MutexLock lock(mutex);
    broken = result.error().in("packs are not durable any more");
    return fail(*broken);
  }
  return {};
}

// --- Finishing ---

PackStore::Impl::UnfinishedPtr PackStore::Impl::find_unfinished(const ObjectId& pack) const {
  MutexLock lock(mutex);
  auto it = unfinished.find(pack);
  return it == unfinished.end() ? nullptr : it->second;
}

Result<std::vector<IndexEntry>> PackStore::Impl::read_end(const Fd& fd, const ObjectId& pack) const {
  TRY(uint64_t size, file_size(fd));
  if (size < kPackTrailer) return fail(Code::kCorrupt, "pack " + pack.str() + ": no trailer");
  Bytes trailer(kPackTrailer);
  TRYV(read_at(fd, trailer, size - kPackTrailer));
  Result<std::vector<IndexEntry>> refused = fail(Code::kInternal, "");
  for (const EpochKeys* of_epoch : keys.all()) {
    auto place = open_trailer(trailer, size, pack, volume, *of_epoch);
    if (!place) {
      refused = fail(place.error());
      continue;
    }
    Bytes sealed(place->length);
    TRYV(read_at(fd, sealed, place->offset));
    return open_index(sealed, place->offset, pack, volume, *of_epoch);
  }
  return refused;
}

// `frames`: where the frames end, dead ones included.
Result<uint64_t> PackStore::Impl::write_end(const Fd& fd, const ObjectId& pack, uint64_t frames,
                                            const std::vector<IndexEntry>& index, const EpochKeys& of_pack) {
  Bytes plain = encode_index(index);
  const size_t end_size = plain.size() + kSealOverhead + kPackTrailer;
  const uint64_t size = padded_size(frames + end_size);
  if (size > UINT32_MAX) return fail(Code::kTooLarge, "pack " + pack.str() + ": beyond 4 GiB");
  const uint64_t index_offset = size - end_size;
  if (::ftruncate(fd.get(), static_cast<off_t>(frames)) != 0) return fail(errno_error("ftruncate", errno));
  TRYV(fill_holes(fd, frames));
  TRYV(write_random(fd, frames, index_offset));
  TRYV(write_at(fd, seal_pack_end(plain, static_cast<uint32_t>(index_offset), pack, volume, of_pack), index_offset));
  TRYV(sync_file(fd));
  return size;
}

Result<const EpochKeys*> PackStore::Impl::keys_of_frames(const Fd& fd, const std::vector<IndexEntry>& index) const {
  if (keys.size() > 1) {
    for (const IndexEntry& e : index) {
      if (e.frame.length > kSealedFrameMax || e.length > kFrameMax) continue;
      Bytes sealed(e.frame.length), plain(e.length);
      if (!read_at(fd, sealed, e.frame.offset)) continue;
      if (auto opened = open_frame(keys, volume, e.frame.pack, e.frame.offset, sealed, plain)) return *opened;
    }
  }
  return &keys.newest();
}

Result<void> PackStore::Impl::open(const FrameRef& ref, BytesView sealed, MutableBytes plain) {
  if (keys.size() == 1) {
    TRYV(open_frame(keys, volume, ref.pack, ref.offset, sealed, plain));
    return {};
  }
  const EpochKeys* likely = &keys.newest();
  {
    MutexLock lock(epochs_mutex);
    if (auto it = epochs.find(ref.pack); it != epochs.end()) likely = it->second;
  }
  if (open_frame(*likely, volume, ref.pack, ref.offset, sealed, plain)) return {};
  TRY(const EpochKeys* found, open_frame(keys, volume, ref.pack, ref.offset, sealed, plain));
  MutexLock lock(epochs_mutex);
  epochs[ref.pack] = found;
  return {};
}

Result<std::shared_ptr<const Fd>> PackStore::Impl::fd_of(const UnfinishedPtr& pack) {
  {
    MutexLock lock(mutex);
    if (pack->fd) return pack->fd;
  }
  return files->fd(pack->file);
}

Result<uint64_t> PackStore::Impl::finish(const UnfinishedPtr& pack, const std::vector<IndexEntry>& index) {
  const ObjectId& id = pack->file->id();
  auto in_context = [&](const Error& e) { return fail(e.in("pack " + id.str())); };
  TRYV(failpoint("pack.finish"));
  TRY(auto fd, fd_of(pack));
  uint64_t frames;
  {
    MutexLock lock(mutex);
    frames = pack->end;
  }
  const EpochKeys* of_pack = pack->keys;
  if (of_pack == nullptr) {
    TRY(of_pack, keys_of_frames(*fd, index));
  }
  auto size = write_end(*fd, id, std::max(frames, frames_end(index)), index, *of_pack);
  if (!size) return in_context(size.error());
  files->changed(pack->file);
  // The durable rename is what makes it finished: as long as a pack lies in new/, nobody was told that it is, and it
  // may be written anew with another index.
  if (auto r = files->mark_finished(pack->file); !r) return in_context(r.error());
  TRYV(failpoint("pack.finish.after"));
  return size;
}

// --- The interface ---

PackStore::PackStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PackStore::~PackStore() {
  if (impl_->spare) (void)impl_->files->remove(impl_->spare->file->id());
}

Result<std::unique_ptr<PackStore>> PackStore::open(const std::string& dir, const VolumeId& volume,
                                                   const KeyRing& keys) {
  TRY(auto files, PackFiles::open(dir));
  auto impl = std::make_unique<Impl>(std::move(files), volume, keys);
  TRYV(impl->adopt_former_run());
  return std::unique_ptr<PackStore>(new PackStore(std::move(impl)));
}

Result<FrameRef> PackStore::append(BytesView plain, Use use) {
  if (plain.empty() || plain.size() > kFrameMax)
    return fail(Code::kInvalid, "a frame of " + std::to_string(plain.size()) + " bytes");
  TRYV(failpoint("pack.append"));
  // Compression tells the sealed length, which is all that a place has to be reserved with; sealing, hashing and
  // writing then need no lock.
  thread_local Bytes frame;
  prepare_frame(plain, frame);
  TRY(Impl::Place place, impl_->reserve(static_cast<uint32_t>(frame.size())));
  FrameRef ref;
  ref.pack = place.pack->file->id();
  ref.offset = place.offset;
  ref.length = place.length;
  seal_prepared_frame(*place.pack->keys, impl_->volume, ref.pack, ref.offset, frame);
  ref.hash = blake2b(frame);
  auto written = write_at(*place.fd, frame, ref.offset);
  impl_->complete(place, written ? BytesView(frame) : BytesView{}, use);
  if (!written) return fail(written.error().in("pack " + ref.pack.str()));
  TRYV(failpoint("pack.append.after"));
  return ref;
}

Result<void> PackStore::sync() { return impl_->sync(); }

std::optional<std::vector<RecentFrame>> PackStore::take_recent() {
  MutexLock lock(impl_->mutex);
  Impl::Recent &recent = impl_->recent, &in_round = impl_->in_round;
  if (recent.more || in_round.more || recent.bytes + in_round.bytes > kRecentMost) return std::nullopt;
  if (impl_->names_dirty || impl_->names_in_round || impl_->broken) return std::nullopt;
  std::vector<RecentFrame> frames = std::exchange(in_round, {}).frames;
  std::ranges::move(std::exchange(recent, {}).frames, std::back_inserter(frames));
  return frames;
}

void PackStore::use_unsynced() {
  MutexLock lock(impl_->mutex);
  if (impl_->unsynced > 0) impl_->recent.too_many();
}

Result<bool> PackStore::restore(const RecentFrame& frame) {
  Impl::UnfinishedPtr pack = impl_->find_unfinished(frame.pack);
  if (!pack) return false;
  auto in_context = [&](const Error& e) { return fail(e.in("pack " + frame.pack.str())); };
  auto fd = impl_->fd_of(pack);
  if (!fd) return in_context(fd.error());
  Bytes there(frame.sealed.size());
  auto read = read_at(**fd, there, frame.offset);
  if (read && there == frame.sealed) return false;
  if (!read && read.error().code() != Code::kRange) return in_context(read.error());
  if (auto written = write_at(**fd, frame.sealed, frame.offset); !written) return in_context(written.error());
  impl_->files->changed(pack->file);
  MutexLock lock(impl_->mutex);
  pack->end = std::max(pack->end, uint64_t{frame.offset} + frame.sealed.size());
  if (!std::exchange(pack->dirty, true)) impl_->dirty_packs.push_back(pack);
  impl_->recent.too_many();
  return true;
}

size_t PackStore::unsynced_bytes() const {
  MutexLock lock(impl_->mutex);
  return impl_->unsynced;
}

uint64_t PackStore::syncs() const { return impl_->syncs; }

std::vector<ObjectId> PackStore::rotate() {
  MutexLock lock(impl_->mutex);
  if (impl_->open_pack && impl_->open_pack->end > 0) impl_->close_open_pack();
  std::vector<Impl::UnfinishedPtr> packs = std::exchange(impl_->closed, {});
  std::vector<ObjectId> ids;
  for (const Impl::UnfinishedPtr& pack : packs) {
    while (pack->in_flight > 0) impl_->changed.wait(impl_->mutex);
    ids.push_back(pack->file->id());
  }
  return ids;
}

Result<PackFilePtr> PackStore::Impl::load(const FrameRef& ref, Bytes& sealed) const {
  if (ref.length <= 1 + kSealOverhead || ref.length > kSealedFrameMax)
    return fail(Code::kInvalid, "a sealed frame of " + std::to_string(ref.length) + " bytes");
  PackFilePtr file = files->find(ref.pack);
  if (!file) return absent(ref.pack);
  TRY(auto fd, files->fd(file));
  sealed.resize(ref.length);
  if (auto r = read_at(*fd, sealed, ref.offset); !r) {
    if (r.error().code() == Code::kRange) return absent(ref.pack);
    return fail(r.error().in("pack " + ref.pack.str()));
  }
  if (all_zero(BytesView(sealed).first(kNonceSize))) return absent(ref.pack);
  return file;
}

Result<void> PackStore::read(const FrameRef& ref, MutableBytes plain) const {
  thread_local Bytes sealed;
  TRY(PackFilePtr file, impl_->load(ref, sealed));
  auto opened = impl_->open(ref, sealed, plain);
  if (!opened) {
    if (touches_hole(sealed, ref.offset)) return absent(ref.pack);
    return fail(opened.error().in("pack " + ref.pack.str() + " at " + std::to_string(ref.offset)));
  }
  impl_->files->used(file, ref.offset, ref.length);
  return {};
}

Result<bool> PackStore::has_hash(const FrameRef& ref) const {
  Bytes sealed;
  TRYV(impl_->load(ref, sealed));
  return blake2b(sealed) == ref.hash;
}

Result<Epoch> PackStore::epoch_of(const FrameRef& ref, uint32_t plain_length) const {
  Bytes sealed;
  TRYV(impl_->load(ref, sealed));
  if (touches_hole(sealed, ref.offset)) return absent(ref.pack);
  Bytes plain(std::min<size_t>(plain_length, kFrameMax));
  auto keys = open_frame(impl_->keys, impl_->volume, ref.pack, ref.offset, sealed, plain);
  if (!keys) return fail(keys.error().in("pack " + ref.pack.str() + " at " + std::to_string(ref.offset)));
  return (*keys)->epoch();
}

Result<void> PackStore::store_range(const ObjectId& pack, uint64_t offset, BytesView sealed) {
  if (offset % kFetchGrid != 0 || offset + sealed.size() > UINT32_MAX)
    return fail(Code::kInvalid, "pack " + pack.str() + ": a range at " + std::to_string(offset));
  return store_at(pack, offset, sealed);
}

Result<void> PackStore::store_frame(const FrameRef& ref, BytesView sealed) {
  if (sealed.size() != ref.length)
    return fail(Code::kInvalid, "pack " + ref.pack.str() + ": a frame of " + std::to_string(sealed.size()) + " bytes");
  return store_at(ref.pack, ref.offset, sealed);
}

Result<void> PackStore::store_at(const ObjectId& pack, uint64_t offset, BytesView sealed) {
  {
    MutexLock lock(impl_->mutex);
    if (impl_->open_pack && impl_->open_pack->file->id() == pack)
      return fail(Code::kInvalid, "pack " + pack.str() + ": open for appending");
  }
  TRYV(failpoint("pack.store"));
  TRY(PackFilePtr file, impl_->files->find_or_create(pack));
  TRY(auto fd, impl_->files->fd(file));
  auto written = write_at(*fd, sealed, offset);
  impl_->files->changed(file);
  impl_->files->used(file, offset, sealed.size());
  if (!written) {
    (void)drop_range(pack, offset, sealed.size());  // a half-written cell would look like damage
    return fail(written.error().in("pack " + pack.str()));
  }
  return {};
}

Result<void> PackStore::drop_range(const ObjectId& pack, uint64_t offset, uint64_t length) {
  PackFilePtr file = impl_->files->find(pack);
  if (!file || length == 0) return {};
  if (impl_->files->unfinished(file)) return fail(Code::kInvalid, "pack " + pack.str() + ": is unfinished");
  auto fd = impl_->files->fd(file);
  if (!fd) return fd.error().code() == Code::kNotFound ? Result<void>{} : fail(std::move(fd).error());
  int done = ::fallocate((*fd)->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                         static_cast<off_t>(length));
  if (done != 0) return fail(errno_error("pack " + pack.str(), errno));
  impl_->files->changed(file);
  return {};
}

uint64_t PackStore::evict(uint64_t bytes, const std::function<bool(const ObjectId&)>& may_go) {
  std::unordered_map<ObjectId, bool> answers;  // of those that were asked for
  uint64_t freed = 0;
  for (const PackFiles::Range& range : impl_->files->ranges_by_use()) {
    if (freed >= bytes) break;
    auto [answer, asked] = answers.try_emplace(range.file->id(), false);
    if (asked) answer->second = may_go(range.file->id());
    if (!answer->second) continue;
    auto one = impl_->files->evict(range);
    if (one)
      freed += *one;
    else
      log_line(LogLevel::kWarning, "cannot evict from pack " + range.file->id().str() + ": " + one.error().what());
  }
  return freed;
}

Result<uint64_t> PackStore::finish(const ObjectId& pack, const std::vector<IndexEntry>& index) {
  for (const IndexEntry& e : index)
    if (e.frame.pack != pack) return fail(Code::kInvalid, "pack " + pack.str() + ": an index entry of another pack");
  Impl::UnfinishedPtr mine = impl_->find_unfinished(pack);
  if (!mine) {
    PackFilePtr file = impl_->files->find(pack);
    if (!file) return absent(pack);
    TRY(auto fd, impl_->files->fd(file));
    TRY(std::vector<IndexEntry> present, impl_->read_end(*fd, pack));
    auto has = sorted_frames(present), wants = sorted_frames(index);
    if (!std::includes(has.begin(), has.end(), wants.begin(), wants.end()))
      return fail(Code::kInvalid, "pack " + pack.str() + ": was finished with other frames");
    return file_size(*fd);
  }
  {
    MutexLock lock(impl_->mutex);
    if (impl_->open_pack == mine) return fail(Code::kInvalid, "pack " + pack.str() + ": open for appending");
    if (mine->finishing) return fail(Code::kBusy, "pack " + pack.str() + ": being finished");
    mine->finishing = true;
    while (mine->in_flight > 0) impl_->changed.wait(impl_->mutex);
  }
  auto size = impl_->finish(mine, index);
  MutexLock lock(impl_->mutex);
  mine->finishing = false;
  if (size) impl_->unfinished.erase(pack);
  return size;
}

Result<Bytes> PackStore::bytes(const ObjectId& pack, uint64_t length) const {
  PackFilePtr file = impl_->files->find(pack);
  if (!file) return absent(pack);
  TRY(auto fd, impl_->files->fd(file));
  TRY(uint64_t size, file_size(*fd));
  if (length > size) return fail(Code::kRange, "pack " + pack.str() + ": shorter than " + std::to_string(length));
  // An unfinished pack may have gaps where appends failed, but nothing of it was ever evicted.
  if (length > 0 && !impl_->files->unfinished(file)) {
    off_t hole = ::lseek(fd->get(), 0, SEEK_HOLE);
    if (hole < 0) return fail(errno_error("pack " + pack.str(), errno));
    if (static_cast<uint64_t>(hole) < length) return absent(pack);
  }
  Bytes out(length);
  if (auto r = read_at(*fd, out, 0); !r) return fail(r.error().in("pack " + pack.str()));
  return out;
}

Result<uint64_t> PackStore::size(const ObjectId& pack) const {
  {
    MutexLock lock(impl_->mutex);
    auto it = impl_->unfinished.find(pack);
    if (it != impl_->unfinished.end()) return it->second->end;
  }
  PackFilePtr file = impl_->files->find(pack);
  if (!file) return absent(pack);
  TRY(auto fd, impl_->files->fd(file));
  return file_size(*fd);
}

Result<void> PackStore::remove(const ObjectId& pack) {
  {
    MutexLock lock(impl_->mutex);
    if (impl_->open_pack && impl_->open_pack->file->id() == pack) impl_->open_pack = nullptr;
    std::erase_if(impl_->closed, [&](const Impl::UnfinishedPtr& p) { return p->file->id() == pack; });
    impl_->unfinished.erase(pack);
  }
  {
    MutexLock lock(impl_->epochs_mutex);
    impl_->epochs.erase(pack);
  }
  return impl_->files->remove(pack);
}

Result<std::vector<ObjectId>> PackStore::local_packs() const {
  std::vector<ObjectId> ids = impl_->files->ids();
  MutexLock lock(impl_->mutex);
  if (impl_->spare) std::erase(ids, impl_->spare->file->id());
  return ids;
}

bool PackStore::is_unfinished(const ObjectId& pack) const {
  PackFilePtr file = impl_->files->find(pack);
  return file && impl_->files->unfinished(file);
}

uint64_t PackStore::unrotated_bytes() const {
  MutexLock lock(impl_->mutex);
  uint64_t bytes = impl_->open_pack ? impl_->open_pack->end : 0;
  for (const Impl::UnfinishedPtr& pack : impl_->closed) bytes += pack->end;
  return bytes;
}

uint64_t PackStore::disk_bytes() const { return impl_->files->disk_bytes(); }

}  // namespace coffer
