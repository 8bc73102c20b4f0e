#include "fs/sync/fetch_pool.h"

#include <algorithm>

#include "base/thread.h"
#include "crypto/hash.h"

namespace coffer {

namespace {

constexpr Nanos kWatchEvery = std::chrono::milliseconds(50);
constexpr size_t kPacksRemembered = 4096;  // more only while something is asked of them

uint64_t first_cell(const FrameRef& ref) { return ref.offset / kFetchGrid; }
uint64_t last_cell(const FrameRef& ref) { return (uint64_t{ref.offset} + ref.length - 1) / kFetchGrid; }

std::string describe(const std::string& key, uint64_t offset, uint64_t length) {
  return "object " + key + ", offset " + std::to_string(offset) + ", length " + std::to_string(length);
}

}  // namespace

FetchPool::FetchPool(ObjectStore& store, Backend backend, Options options)
    : store_(store), backend_(std::move(backend)), options_(options) {}

FetchPool::~FetchPool() { stop(); }

void FetchPool::start() {
  for (unsigned i = 0; i < options_.threads; ++i)
    threads_.push_back(start_thread("coffer-fetch", [this](std::stop_token stop) { work(stop); }));
  threads_.push_back(start_thread("coffer-fetchwat", [this](std::stop_token stop) { watch(stop); }));
}

void FetchPool::stop() {
  Callbacks callbacks;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (auto& [id, pack] : packs_)
      for (auto& flight : pack.flights) flight->stop.request_stop();
    auto requests = requests_;
    for (const RequestPtr& r : requests) finish(r, fail(Code::kCancelled, "coffer is stopping"), callbacks);
    work_ready_.notify_all();
    watch_ready_.notify_all();
  }
  call(std::move(callbacks));
  for (std::jthread& t : threads_) t.request_stop();
  threads_.clear();
}

size_t FetchPool::parked() const {
  MutexLock lock(mutex_);
  return requests_.size();
}

void FetchPool::fetch(std::vector<Missing> missing, std::stop_token stop, std::function<void(Result<void>)> done) {
  auto request = std::make_shared<Request>();
  request->stop = std::move(stop);
  request->done = std::move(done);
  request->progress = options_.clock->monotonic();
  MutexLock lock(mutex_);
  if (packs_.size() > kPacksRemembered) {
    std::erase_if(packs_, [](const auto& item) {
      const Pack& p = item.second;
      return p.frames.empty() && p.ahead.empty() && p.flights.empty() && !p.queued;
    });
  }
  // Also what needs no work, or comes too late, is answered from the watching thread: never from inside this call.
  requests_.insert(request);
  for (const Missing& m : missing) {
    if (stopping_) break;
    const FrameRef& ref = m.extent.frame;
    Pack& pack = packs_[ref.pack];
    if (pack.frames.empty()) pack.not_before = Nanos(0);  // whoever comes after a failure gets a try of his own
    Wanted& wanted = pack.frames[ref.offset];
    if (wanted.waiting.empty()) wanted.ref = ref;
    if (wanted.ref != ref) {  // one place cannot hold two frames: one of the two records lies
      request->refused = Error(Code::kCorrupt, "two records disagree on what pack " + ref.pack.str() + " holds at " +
                                                   std::to_string(ref.offset));
      break;
    }
    if (std::find(wanted.waiting.begin(), wanted.waiting.end(), request) != wanted.waiting.end()) continue;
    wanted.waiting.push_back(request);
    ++request->open;
    follow(pack, first_cell(ref), last_cell(ref));
    queue(ref.pack, pack);
  }
  watch_ready_.notify_all();
}

// Reading ahead: `first` .. `last` are wanted now. If they go on where the pack was read last, the window doubles.
void FetchPool::follow(Pack& pack, uint64_t first, uint64_t last) {
  const uint64_t most = std::max<uint64_t>(1, options_.most_at_once / kFetchGrid);
  bool known = pack.next_cell > 0;
  bool inside = known && first < pack.next_cell && last < pack.next_cell && pack.window > 0 &&
                first + 2 * pack.window + 2 >= pack.next_cell;
  bool next = known && (first == pack.next_cell || (first + 1 == pack.next_cell && last >= pack.next_cell));
  if (next) {
    pack.window = std::min(most, std::max<uint64_t>(1, pack.window) * 2);
    pack.next_cell = last + 1;
  } else if (!inside) {
    pack.window = !known && first == 0 ? std::exchange(handed_on_window_, 0) : 0;
    pack.next_cell = last + 1;
    pack.marker = UINT64_MAX;
    if (pack.window == 0) return;
  } else if (last < pack.marker) {
    return;
  } else {
    pack.window = std::min(most, pack.window * 2);
  }
  uint64_t end = pack.next_cell + pack.window;
  if (pack.place) end = std::min(end, (pack.place->size + kFetchGrid - 1) / kFetchGrid);
  for (uint64_t cell = pack.next_cell; cell < end; ++cell) pack.ahead.insert(cell);
  pack.marker = pack.next_cell;  // when the first of these is wanted, the next window is asked for
  pack.next_cell = std::max(pack.next_cell, end);
  if (pack.place && pack.next_cell * kFetchGrid >= pack.place->size) handed_on_window_ = pack.window;
}

void FetchPool::queue(const ObjectId& id, Pack& pack) {
  if (pack.queued) return;
  pack.queued = true;
  queue_.push_back(id);
  work_ready_.notify_one();
}

bool FetchPool::in_flight(const Pack& pack, uint64_t cell) const {
  return std::any_of(pack.flights.begin(), pack.flights.end(),
                     [&](const auto& f) { return f->first <= cell && cell < f->end; });
}

void FetchPool::remember(const ObjectId& id, uint64_t cell, BytesView bytes) {
  forget_cells(id, cell, cell);
  cells_.push_back({id, cell, to_bytes(bytes)});
  cell_index_[{id, cell}] = std::prev(cells_.end());
  cell_bytes_ += bytes.size();
}

// What a waiting frame needs stays, whatever the limit: its other cell is on the way.
void FetchPool::evict() {
  for (auto it = cells_.begin(); it != cells_.end() && cell_bytes_ > options_.buffer;) {
    auto pack = packs_.find(it->pack);
    bool needed = pack != packs_.end() &&
                  std::any_of(pack->second.frames.begin(), pack->second.frames.end(), [&](const auto& item) {
                    return first_cell(item.second.ref) <= it->cell && it->cell <= last_cell(item.second.ref);
                  });
    if (needed) {
      ++it;
      continue;
    }
    cell_bytes_ -= it->bytes.size();
    cell_index_.erase({it->pack, it->cell});
    it = cells_.erase(it);
  }
}

void FetchPool::forget_cells(const ObjectId& id, uint64_t first, uint64_t last) {
  for (uint64_t cell = first; cell <= last; ++cell) {
    auto it = cell_index_.find({id, cell});
    if (it == cell_index_.end()) continue;
    cell_bytes_ -= it->second->bytes.size();
    cells_.erase(it->second);
    cell_index_.erase(it);
  }
}

void FetchPool::plan(const ObjectId& id, Pack& pack) {
  for (auto it = pack.frames.begin(); it != pack.frames.end();) {
    std::erase_if(it->second.waiting, [](const RequestPtr& r) { return r->finished; });
    it = it->second.waiting.empty() ? pack.frames.erase(it) : std::next(it);
  }
  if (pack.failures > 0) pack.ahead.clear();  // no reading ahead where nothing comes
  pack.cells = pack.ahead;
  for (const auto& [offset, wanted] : pack.frames)
    for (uint64_t cell = first_cell(wanted.ref); cell <= last_cell(wanted.ref); ++cell) pack.cells.insert(cell);
  for (auto it = pack.cells.begin(); it != pack.cells.end();) {
    bool settled =
        cell_index_.contains({id, *it}) || in_flight(pack, *it) || (pack.place && *it * kFetchGrid >= pack.place->size);
    it = settled ? pack.cells.erase(it) : std::next(it);
  }
  std::erase_if(pack.ahead, [&](uint64_t cell) { return !pack.cells.contains(cell); });
}

std::shared_ptr<FetchPool::Flight> FetchPool::take_run(Pack& pack) {
  if (pack.cells.empty()) return nullptr;
  // What somebody waits for goes first.
  uint64_t first = *pack.cells.begin();
  for (const auto& [offset, wanted] : pack.frames) {
    bool found = false;
    for (uint64_t cell = first_cell(wanted.ref); !found && cell <= last_cell(wanted.ref); ++cell) {
      if (!pack.cells.contains(cell)) continue;
      first = cell;
      found = true;
    }
    if (found) break;
  }
  const uint64_t most = std::max<uint64_t>(1, options_.most_at_once / kFetchGrid);
  auto flight = std::make_shared<Flight>();
  flight->first = flight->end = first;
  while (flight->end - first < most && pack.cells.erase(flight->end) > 0) ++flight->end;
  flight->ahead = std::none_of(pack.frames.begin(), pack.frames.end(), [&](const auto& item) {
    return first_cell(item.second.ref) < flight->end && last_cell(item.second.ref) >= flight->first;
  });
  pack.ahead.erase(pack.ahead.lower_bound(flight->first), pack.ahead.lower_bound(flight->end));
  flight->started = options_.clock->monotonic();
  pack.flights.push_back(flight);
  return flight;
}

std::vector<FetchPool::Arrived> FetchPool::collect(const ObjectId& id, Pack& pack) {
  std::vector<Arrived> out;
  for (auto it = pack.frames.begin(); it != pack.frames.end();) {
    const FrameRef& ref = it->second.ref;
    std::vector<std::list<Cell>::iterator> parts;
    for (uint64_t cell = first_cell(ref); cell <= last_cell(ref); ++cell) {
      auto found = cell_index_.find({id, cell});
      if (found == cell_index_.end()) break;
      parts.push_back(found->second);
    }
    if (parts.size() != last_cell(ref) - first_cell(ref) + 1) {
      ++it;
      continue;
    }
    Bytes sealed;
    sealed.reserve(ref.length);
    for (auto part : parts) {
      uint64_t start = part->cell * kFetchGrid;
      uint64_t from = std::max<uint64_t>(ref.offset, start) - start;
      uint64_t to = std::min<uint64_t>(uint64_t{ref.offset} + ref.length - start, part->bytes.size());
      if (from < to)
        sealed.insert(sealed.end(), part->bytes.begin() + static_cast<ptrdiff_t>(from),
                      part->bytes.begin() + static_cast<ptrdiff_t>(to));
      cells_.splice(cells_.end(), cells_, part);
    }
    out.push_back({ref, std::move(sealed), std::move(it->second.waiting), it->second.tried_again});
    it = pack.frames.erase(it);
  }
  return out;
}

void FetchPool::work(std::stop_token) {
  for (;;) {
    ObjectId id;
    {
      MutexLock lock(mutex_);
      for (;;) {
        if (stopping_) return;
        Nanos now = options_.clock->monotonic(), soonest = Nanos::max();
        auto it = queue_.begin();
        for (; it != queue_.end(); ++it) {
          Nanos at = packs_[*it].not_before;
          if (at <= now) break;
          soonest = std::min(soonest, at - now);
        }
        if (it != queue_.end()) {
          id = *it;
          queue_.erase(it);
          packs_[id].queued = false;
          break;
        }
        if (queue_.empty())
          work_ready_.wait(mutex_);
        else
          work_ready_.wait_for(mutex_, std::min(soonest, kWatchEvery));
      }
    }
    step(id);
  }
}

// Does one thing for a pack: hands out what is in memory, then asks the store for one run of cells.
void FetchPool::step(const ObjectId& id) {
  std::vector<Arrived> arrived;
  {
    MutexLock lock(mutex_);
    arrived = collect(id, packs_[id]);
  }
  if (!arrived.empty()) deliver(id, std::exchange(arrived, {}));
  bool need_place;
  {
    MutexLock lock(mutex_);
    Pack& pack = packs_[id];
    plan(id, pack);
    need_place = !pack.place && !pack.cells.empty();
  }
  Result<void> found = need_place ? find_place(id) : Result<void>();
  std::shared_ptr<Flight> flight;
  PackPlace place;
  Callbacks callbacks;
  {
    MutexLock lock(mutex_);
    Pack& pack = packs_[id];
    plan(id, pack);
    if (stopping_) return;
    if (!found) {
      fail_frames(pack, 0, UINT64_MAX, found.error(), callbacks);
      pack.ahead.clear();
    } else if (pack.place) {
      place = *pack.place;
      flight = take_run(pack);
      if (!flight && !pack.frames.empty() && pack.flights.empty()) {
        // All cells are here or beyond the end of the pack, and still something waits.
        arrived = collect(id, pack);
        Error error(Code::kCorrupt, "object " + place.key + " ends before a frame that a record says it holds");
        fail_frames(pack, 0, UINT64_MAX, error, callbacks);
      }
      if (!pack.cells.empty()) queue(id, pack);  // for another thread
    }
  }
  call(std::move(callbacks));
  if (!arrived.empty()) deliver(id, std::move(arrived));
  if (flight) get(id, place, flight);
}

Result<void> FetchPool::find_place(const ObjectId& id) {
  TRY(std::optional<PackPlace> place, backend_.place_of(id));
  if (!place || place->size == 0)
    return fail(Code::kCorrupt,
                "pack " + id.str() + " is in the store no more: no file needed it when it was collected");
  MutexLock lock(mutex_);
  packs_[id].place = std::move(place);
  return {};
}

void FetchPool::get(const ObjectId& id, const PackPlace& place, const std::shared_ptr<Flight>& flight) {
  // Where a record carries only the middle of a pack, the pack's first byte would lie before the object's (or the
  // carried bytes): `place.offset` has wrapped around then, and cells are cut at the object's start.
  uint64_t from = flight->first * kFetchGrid;
  uint64_t to = std::min(flight->end * kFetchGrid, place.size);
  if (place.offset > UINT64_MAX / 2) from = std::max(from, 0 - place.offset);
  Result<Bytes> got = from < to ? store_.get_range(place.key, place.offset + from, to - from, flight->stop.get_token())
                                : Result<Bytes>(Bytes());
  uint64_t lead = from - std::min(from, flight->first * kFetchGrid);
  if (backend_.answered && from < to && (got || got.error().code() == Code::kNotFound))
    backend_.answered(id, place.key, got.has_value());

  Callbacks callbacks;
  std::vector<Arrived> arrived;
  {
    MutexLock lock(mutex_);
    Pack& pack = packs_[id];
    pack.flights.remove(flight);
    Nanos now = options_.clock->monotonic();
    if (got) {
      pack.failures = 0;
      pack.not_before = Nanos(0);
      last_success_ = now;
      Bytes bytes(lead, 0);
      bytes.insert(bytes.end(), got->begin(), got->end());
      for (uint64_t cell = flight->first; cell < flight->end; ++cell) {
        uint64_t at = std::min<uint64_t>((cell - flight->first) * kFetchGrid, bytes.size());
        remember(id, cell, BytesView(bytes).subspan(at, std::min<uint64_t>(kFetchGrid, bytes.size() - at)));
      }
      for (auto& [offset, wanted] : pack.frames)
        for (auto& r : wanted.waiting) r->trouble.reset();
      arrived = collect(id, pack);
      evict();
    } else if (got.error().code() != Code::kCancelled) {
      Error error = got.error().in(describe(place.key, place.offset + from, to - from));
      // What is not there may still come (a store that shows new objects late, files that another program carries).
      if (error.retryable() || error.code() == Code::kNotFound) {
        Nanos wait = std::min(options_.retry_most, options_.retry_first * (1 << std::min(pack.failures, 10u)));
        ++pack.failures;
        pack.not_before = now + wait;
        for (auto& [offset, wanted] : pack.frames)
          for (auto& r : wanted.waiting) r->trouble = error;
      } else {
        fail_frames(pack, flight->first, flight->end, error, callbacks);
      }
    }
    if (!pack.frames.empty() && !stopping_) queue(id, pack);
    work_ready_.notify_all();
  }
  call(std::move(callbacks));
  if (!arrived.empty()) deliver(id, std::move(arrived));
}

void FetchPool::deliver(const ObjectId& id, std::vector<Arrived> arrived) {
  for (Arrived& a : arrived) {
    Result<void> outcome;
    bool verified = a.sealed.size() == a.ref.length && blake2b(a.sealed) == a.ref.hash;
    if (verified) {
      if (auto kept = backend_.keep(a.ref, a.sealed); !kept) outcome = fail(kept.error());
    }
    Callbacks callbacks;
    {
      MutexLock lock(mutex_);
      Pack& pack = packs_[id];
      Nanos now = options_.clock->monotonic();
      if (!verified && !a.tried_again) {
        // Once more, past what is in memory: the damage may have happened on the way.
        forget_cells(id, first_cell(a.ref), last_cell(a.ref));
        Wanted& wanted = pack.frames[a.ref.offset];
        wanted.ref = a.ref;
        wanted.tried_again = true;
        wanted.waiting.insert(wanted.waiting.end(), a.waiting.begin(), a.waiting.end());
        queue(id, pack);
        continue;
      }
      if (!verified) {
        forget_cells(id, first_cell(a.ref), last_cell(a.ref));
        std::string where = pack.place ? describe(pack.place->key, pack.place->offset + a.ref.offset, a.ref.length)
                                       : "pack " + id.str();
        outcome = fail(Code::kCorrupt, where + ": does not verify: damaged or replaced in the store");
      }
      for (const RequestPtr& r : a.waiting) {
        if (r->finished) continue;
        r->progress = now;
        --r->open;
        if (!outcome)
          finish(r, outcome, callbacks);
        else if (r->open == 0)
          finish(r, {}, callbacks);
      }
    }
    call(std::move(callbacks));
  }
}

void FetchPool::fail_frames(Pack& pack, uint64_t first, uint64_t end, const Error& error, Callbacks& out) {
  for (auto it = pack.frames.begin(); it != pack.frames.end();) {
    if (first_cell(it->second.ref) >= end || last_cell(it->second.ref) < first) {
      ++it;
      continue;
    }
    auto waiting = std::move(it->second.waiting);
    it = pack.frames.erase(it);
    for (const RequestPtr& r : waiting) finish(r, fail(error), out);
  }
}

void FetchPool::finish(const RequestPtr& request, Result<void> outcome, Callbacks& out) {
  if (request->finished) return;
  request->finished = true;
  requests_.erase(request);
  out.emplace_back(std::move(request->done), std::move(outcome));
}

void FetchPool::call(Callbacks callbacks) {
  for (auto& [done, outcome] : callbacks) done(std::move(outcome));
}

void FetchPool::watch(std::stop_token) {
  for (;;) {
    Callbacks callbacks;
    {
      MutexLock lock(mutex_);
      if (stopping_ && requests_.empty()) return;
      if (requests_.empty()) {
        watch_ready_.wait(mutex_);
        continue;
      }
      Nanos now = options_.clock->monotonic();
      auto requests = requests_;
      for (const RequestPtr& r : requests) {
        if (stopping_) {
          finish(r, fail(Code::kCancelled, "coffer is stopping"), callbacks);
        } else if (r->stop.stop_requested()) {
          finish(r, fail(Code::kCancelled, "the reader gave up"), callbacks);
        } else if (r->refused) {
          finish(r, fail(*r->refused), callbacks);
        } else if (r->open == 0) {
          finish(r, {}, callbacks);
        } else {
          // A request that waits in line while others are served is not timed out.
          Nanos since = r->trouble ? r->progress : std::max(r->progress, last_success_);
          if (now - since < options_.timeout) continue;
          Error error(Code::kTimedOut, "the store did not answer in time");
          if (r->trouble) {
            error = r->trouble->code() == Code::kNotFound
                        ? Error(Code::kUnavailable, r->trouble->what() + " (it may not have arrived in the store yet)")
                        : *r->trouble;
          }
          finish(r, fail(error), callbacks);
        }
      }
      for (auto& [id, pack] : packs_) {
        for (auto& flight : pack.flights) {
          bool waited_for = std::any_of(pack.frames.begin(), pack.frames.end(), [&](const auto& item) {
            const Wanted& w = item.second;
            return first_cell(w.ref) < flight->end && last_cell(w.ref) >= flight->first &&
                   std::any_of(w.waiting.begin(), w.waiting.end(), [](const auto& r) { return !r->finished; });
          });
          if (waited_for)
            flight->ahead = false;
          else if (!flight->ahead || now - flight->started > options_.timeout / 6)
            flight->stop.request_stop();  // its thread is needed elsewhere
        }
      }
      if (callbacks.empty()) watch_ready_.wait_for(mutex_, kWatchEvery);
    }
    call(std::move(callbacks));
  }
}

}  // namespace coffer
