#include "fs/sync/part_loader.h"

#include <algorithm>

#include "base/log.h"
#include "base/thread.h"
#include "fs/replica/loaded_state.h"
#include "fs/replica/row_parts.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/object_keys.h"

namespace coffer {

namespace {

constexpr Nanos kWatchEvery = std::chrono::milliseconds(50);
constexpr unsigned kThreads = 4;
constexpr unsigned kResting = 2;  // of these, for what nobody asks for: so there is always one for who does
constexpr Nanos kFirstRetry = std::chrono::milliseconds(200), kLastRetry = std::chrono::seconds(5);
constexpr Nanos kCheckAgain = std::chrono::seconds(1);
constexpr char kProblem[] = "checkpoint parts";

Nanos pause_after(unsigned failures) {
  Nanos pause = kFirstRetry;
  for (unsigned i = 1; i < failures && pause < kLastRetry; ++i) pause *= 2;
  return std::min(pause, kLastRetry);
}

}  // namespace

Bytes encode_part(const SegmentInfo& info) {
  Bytes out;
  Writer w(out);
  w.id(info.id);
  w.id(info.sealed);
  w.id(info.plain);
  w.varint(info.object_size);
  w.varint(info.plain_size);
  w.varint(info.rows);
  return out;
}

Result<SegmentInfo> decode_part(BytesView bytes) {
  Reader in(bytes);
  SegmentInfo info;
  info.id = in.id<ObjectId>();
  info.sealed = in.id<Hash>();
  info.plain = in.id<Hash>();
  info.object_size = in.varint();
  info.plain_size = in.varint();
  info.rows = in.varint();
  if (!in.at_end()) return fail(Code::kCorrupt, "what is kept of a part of the state makes no sense");
  return info;
}

PartLoader::~PartLoader() { stop(); }

Result<void> PartLoader::begin() {
  if (!c_.replica.parts().loading() || !threads_.empty()) return {};
  TRY(std::vector<Replica::Part> list, c_.replica.part_list());
  MutexLock lock(mutex_);
  parts_.clear();
  for (size_t i = 0; i < list.size(); ++i) {
    Part part;
    TRY(part.info, decode_part(list[i].info));
    part.info.first_key = std::move(list[i].first_key);
    parts_.push_back(std::move(part));
  }
  for (size_t i = 1; i < parts_.size(); ++i) parts_[i - 1].end = parts_[i].info.first_key;
  began_ = demanded_ = c_.clock.monotonic();
  for (unsigned i = 0; i < kThreads; ++i)
    threads_.push_back(start_thread("coffer-parts", [this](std::stop_token stop) { work(stop); }));
  threads_.push_back(start_thread("coffer-partwat", [this](std::stop_token stop) { watch(stop); }));
  return {};
}

void PartLoader::stop() {
  Callbacks callbacks;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    for (Waiter& w : waiters_) callbacks.emplace_back(std::move(w.done), fail(Code::kCancelled, "coffer is stopping"));
    waiters_.clear();
    changed_.notify_all();
  }
  call(std::move(callbacks));
  for (std::jthread& t : threads_) t.request_stop();
  threads_.clear();
}

void PartLoader::call(Callbacks callbacks) {
  for (auto& [done, outcome] : callbacks) done(std::move(outcome));
}

void PartLoader::bring(const std::set<size_t>& parts, std::stop_token stop, std::function<void(Result<void>)> done) {
  {
    MutexLock lock(mutex_);
    if (c_.replica.parts().loading() && !stopping_) return add_waiter(parts, std::move(stop), std::move(done));
  }
  done(Result<void>());
}

void PartLoader::add_waiter(const std::set<size_t>& parts, std::stop_token stop,
                            std::function<void(Result<void>)> done) {
  const Nanos now = c_.clock.monotonic();
  Waiter waiter{{}, std::move(stop), std::move(done), now, std::nullopt};
  // What was wished for on the way is asked for at the same time.
  for (size_t part : c_.replica.parts().take_wanted()) wanted_.insert(part);
  for (size_t part : parts) {
    if (c_.replica.parts().here(part)) continue;
    waiter.open.insert(part);
    wanted_.insert(part);
    // Whoever comes after a failure gets a try of his own. (He may also come before begin().)
    if (!failure_ && part < parts_.size()) parts_[part].not_before = Nanos(0);
  }
  demanded_ = now;
  waiters_.push_back(std::move(waiter));
  changed_.notify_all();
}

Result<void> PartLoader::bring_and_wait(const std::set<size_t>& parts, const std::stop_token& stop) {
  struct Shared {
    Mutex mutex{Rank::kLeaf};
    CondVar changed;
    std::optional<Result<void>> outcome GUARDED_BY(mutex);
  };
  auto shared = std::make_shared<Shared>();
  std::stop_source give_up;
  std::stop_callback asked(stop, [&give_up] { give_up.request_stop(); });
  bring(parts, give_up.get_token(), [shared](Result<void> outcome) {
    MutexLock lock(shared->mutex);
    shared->outcome = std::move(outcome);
    shared->changed.notify_all();
  });
  for (;;) {
    const auto failed = failure();
    if (failed) give_up.request_stop();
    MutexLock lock(shared->mutex);
    if (!shared->outcome) shared->changed.wait_for(shared->mutex, kWatchEvery);
    if (!shared->outcome) continue;
    if (!*shared->outcome && failed) return fail(Code::kUnavailable, failed->what());
    return *shared->outcome;
  }
}

Result<void> PartLoader::wait_for_whole(const std::stop_token& stop) {
  MutexLock lock(mutex_);
  ++hurry_;
  changed_.notify_all();
  Result<void> out;
  while (c_.replica.parts().loading()) {
    if (stop.stop_requested() || stopping_) {
      out = fail(Code::kCancelled, "interrupted");
      break;
    }
    if (failure_ && c_.clock.monotonic() - failed_at_ >= c_.options.fetch_timeout) {
      out = fail(*failure_);
      break;
    }
    changed_.wait_for(mutex_, kWatchEvery);
  }
  --hurry_;
  return out;
}

std::optional<Error> PartLoader::failure() const {
  MutexLock lock(mutex_);
  if (!c_.replica.parts().loading()) return std::nullopt;
  return failure_;
}

// What is to be fetched next: what somebody needs, and the rest when nobody has needed anything for a while.
std::optional<size_t> PartLoader::choose(bool& demanded) {
  const RowParts& known = c_.replica.parts();
  const Nanos now = c_.clock.monotonic();
  for (auto it = wanted_.begin(); it != wanted_.end();) {
    if (*it >= parts_.size() || known.here(*it)) {
      it = wanted_.erase(it);
      continue;
    }
    const Part& part = parts_[*it];
    if (!part.flying && now >= part.not_before) {
      demanded = true;
      return *it;
    }
    ++it;
  }
  const SyncOptions& o = c_.options;
  const bool quiet = now - demanded_ >= o.parts_quiet || now - began_ >= 6 * o.parts_quiet;
  if (hurry_ == 0 && (!quiet || resting_ >= kResting)) return std::nullopt;
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (known.here(i) || parts_[i].flying || now < parts_[i].not_before) continue;
    demanded = false;
    return i;
  }
  return std::nullopt;
}

Result<void> PartLoader::get(const Part& part, size_t index, const std::stop_token& stop) {
  TRY(Bytes object, c_.store.get(pack_key(part.info.id), part.info.object_size, stop));
  auto keys = [this](Epoch e) { return c_.keys_of(e); };
  TRY(Bytes plain, open_segment(object, c_.volume, part.info, keys));
  object = {};
  PartRowsTaken taken;
  TRYV(take_part(plain, part.info, part.end, taken));
  return c_.replica.put_part(index, taken.state, taken.places);
}

void PartLoader::note(size_t index, const Result<void>& outcome, Callbacks& out) {
  Part& part = parts_[index];
  part.flying = false;
  const Nanos now = c_.clock.monotonic();
  if (outcome) {
    part.failures = 0;
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      it->progress = now;
      it->open.erase(index);
      ++it;
    }
    end_waiters(out);
    return;
  }
  part.not_before = now + pause_after(++part.failures);
  const Code code = outcome.error().code();
  for (Waiter& w : waiters_)
    if (w.open.contains(index)) w.trouble = outcome.error();
  if (blames_checkpoint(code))
    fail_whole(outcome.error());
  else if (code == Code::kIo || code == Code::kNoSpace)
    c_.problems.set("disk parts", "the volume's state cannot be kept: " + outcome.error().what(), disk_advice(code));
}

void PartLoader::fail_whole(const Error& error) {
  if (failure_) return;
  failure_ = error;
  failed_at_ = c_.clock.monotonic();
  c_.problems.set(
      kProblem, "the checkpoint that this device began with is refused: " + error.what(),
      "An object was damaged, replaced or removed in the store, or its author's machine has a fault. The state "
      "is made anew from all records, and nothing is missing then; until that is done, what is not here yet "
      "cannot be read. Ask whoever runs the store.");
}

void PartLoader::end_waiters(Callbacks& out) {
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    if (it->open.empty() || !c_.replica.parts().loading()) {
      out.emplace_back(std::move(it->done), Result<void>());
      it = waiters_.erase(it);
    } else {
      ++it;
    }
  }
}

void PartLoader::work(std::stop_token stop) {
  while (!stop.stop_requested() && c_.replica.parts().loading()) {
    std::optional<size_t> index;
    bool demanded = false, whole = false;
    Part part;
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      index = choose(demanded);
      if (index) {
        parts_[*index].flying = true;
        resting_ += demanded ? 0 : 1;
        part = parts_[*index];
      } else {
        whole = c_.replica.parts().missing() == 0 && !checking_ && !failure_ && c_.clock.monotonic() >= check_at_;
        checking_ = checking_ || whole;
        if (!whole) changed_.wait_for(mutex_, kWatchEvery);
      }
    }
    if (whole) check(stop);
    if (!index) continue;
    auto outcome = get(part, *index, stop);
    Callbacks callbacks;
    bool failed_now;
    {
      MutexLock lock(mutex_);
      const bool before = failure_.has_value();
      resting_ -= demanded ? 0 : 1;
      if (!stop.stop_requested()) note(*index, outcome, callbacks);
      failed_now = !before && failure_.has_value();
      changed_.notify_all();
    }
    call(std::move(callbacks));
    if (failed_now && failed_callback_) failed_callback_();
  }
}

void PartLoader::check(const std::stop_token& stop) {
  auto faults = c_.replica.check_parts(stop);
  Result<void> ended;
  std::optional<Error> wrong;
  if (!faults && faults.error().code() == Code::kCorrupt)
    wrong = faults.error();
  else if (faults && !faults->empty())
    wrong = Error(Code::kCorrupt, "it is no sound state: " + faults->front());
  else if (faults)
    ended = c_.replica.end_parts();
  else
    ended = fail(faults.error());
  MutexLock lock(mutex_);
  checking_ = false;
  check_at_ = c_.clock.monotonic() + kCheckAgain;
  if (wrong)
    fail_whole(*wrong);
  else if (!ended)
    log_line(LogLevel::kInfo, "the state cannot be checked yet: " + ended.error().what());
  else
    c_.problems.clear("disk parts");
  changed_.notify_all();
}

// Tells those who wait in vain, and finds what is needed by whoever does not wait here.
void PartLoader::watch(std::stop_token stop) {
  bool told = false;
  while (!stop.stop_requested()) {
    Callbacks callbacks;
    bool failed, over;
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      changed_.wait_for(mutex_, kWatchEvery);
      const Nanos now = c_.clock.monotonic();
      for (size_t part : c_.replica.parts().take_wanted()) {
        wanted_.insert(part);
        demanded_ = now;
      }
      for (auto it = waiters_.begin(); it != waiters_.end();) {
        std::optional<Error> end;
        if (it->stop.stop_requested())
          end = Error(Code::kCancelled, "interrupted");
        else if (now - it->progress >= c_.options.fetch_timeout)
          end = Error(Code::kTimedOut, it->trouble ? it->trouble->what() : "a part of the volume's state did not come");
        if (!end) {
          ++it;
          continue;
        }
        callbacks.emplace_back(std::move(it->done), fail(std::move(*end)));
        it = waiters_.erase(it);
      }
      // Whoever comes after this is answered at once.
      over = !c_.replica.parts().loading();
      if (over) {
        failure_.reset();
        c_.problems.clear("disk parts");
      }
      end_waiters(callbacks);
      failed = failure_.has_value();
    }
    call(std::move(callbacks));
    if (failed && !told && failed_callback_) failed_callback_();
    told = failed;
    if (over) return;
  }
}

}  // namespace coffer
