#include "fs/sync/rewriter.h"

#include <algorithm>
#include <future>

#include "base/failpoint.h"
#include "base/thread.h"

namespace coffer {

using model::Extent;

namespace {

constexpr size_t kExtentsAtOnce = 64;
constexpr uint64_t kPublishAfter = 32 << 20;  // bytes that were sealed
constexpr size_t kPublishPlaces = 4096;       // or that many; the lock is held while they are published (publishing.cc)
constexpr Nanos kKeysEvery = std::chrono::seconds(1);
constexpr Nanos kTick = std::chrono::milliseconds(200);
constexpr int kDropRounds = 60;
constexpr char kProblem[] = "rewriting";

// Of several million frames, which are shown more than once has to fit into memory; two of one name cost nothing but that.
uint64_t short_name(const FrameRef& frame) { return Reader(frame.pack.view()).u64() ^ (uint64_t{frame.offset} << 20); }

}  // namespace

Rewriter::Rewriter(SyncContext& context, PartLoader& parts, FetchPool& fetches, CheckpointWriter& checkpoints,
                   std::function<Result<void>(const std::stop_token&)> sync)
    : c_(context),
      parts_(parts),
      fetches_(fetches),
      checkpoints_(checkpoints),
      sync_(std::move(sync)),
      backoff_(std::chrono::seconds(1), std::chrono::minutes(15)) {}

Rewriter::~Rewriter() { stop(); }

Result<void> Rewriter::load() {
  TRY(auto row, c_.replica.get_row(rewriting_key()));
  if (!row) return {};
  TRY(Rewriting kept, decode_rewriting(*row));
  MutexLock lock(mutex_);
  state_ = kept;
  return {};
}

void Rewriter::start() {
  thread_ = start_thread("coffer-rewrite", [this](std::stop_token stop) { run(std::move(stop)); });
}

void Rewriter::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  rounds_.wake();
  thread_.join();
}

Result<void> Rewriter::want(Epoch epoch) {
  const auto now = state();
  const bool under_way = now && now->phase != Phase::kDone;
  if (!under_way || now->epoch < epoch) {
    Rewriting next = under_way ? *now : Rewriting{};
    next.epoch = std::max(next.epoch, epoch);
    if (!under_way) next.asked = c_.clock.wall();
    {
      MutexLock lock(mutex_);
      state_ = next;
    }
    TRYV(keep());
  }
  rounds_.wake();
  return {};
}

// No lock is held while the row is written, so somebody else may have written what was before: whoever comes last looks again.
Result<void> Rewriter::keep() {
  for (std::optional<Bytes> written;;) {
    auto now = state();
    if (!now) return {};
    Bytes bytes = encode(*now);
    if (written == bytes) return {};
    RowPut row{rewriting_key(), bytes};
    TRYV(c_.replica.put_rows(std::span(&row, 1), true));
    written = std::move(bytes);
  }
}

std::optional<Rewriting> Rewriter::state() const {
  MutexLock lock(mutex_);
  return state_;
}

void Rewriter::enter(Phase phase) {
  MutexLock lock(mutex_);
  if (state_) state_->phase = phase;
}

void Rewriter::wait(Nanos time) { rounds_.wait_for_work(time); }

void Rewriter::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    auto now = state();
    if (!now || now->phase == Phase::kDone) {
      drop_fetched();
      // What was sealed anew once more meanwhile, or removed, never goes this way: eviction has it.
      if (++rounds_done_ > kDropRounds) fetched_.clear();
      wait(fetched_.empty() ? std::chrono::hours(1) : kKeysEvery);
      continue;
    }
    rounds_done_ = 0;
    auto done = pass(stop);
    if (stop.stop_requested()) break;
    if (done) {
      backoff_.reset();
      if (*done || sealed_in_pass_ > 0) continue;
      enter(Phase::kWaiting);
      wait(kKeysEvery);
      continue;
    }
    enter(Phase::kWaiting);
    // Requests that fail are told by the store's watch.
    if (!done.error().retryable())
      c_.problems.set(kProblem, "old data cannot be sealed under the new keys: " + done.error().what(),
                      "It is tried again by itself. coffer check says what is damaged, and what can be done about it.");
    wait(backoff_.next());
  }
}

Result<bool> Rewriter::pass(const std::stop_token& stop) {
  sealed_in_pass_ = 0;
  if (c_.revoked) return fail(Code::kNotPermitted, "this device has been revoked");
  const Epoch newest = c_.replica.epoch_keys().epoch();
  if (newest < state()->epoch) return false;
  if (std::exchange(epoch_, newest) != newest) {
    old_.clear();
    known_.clear();
  }
  unreadable_.clear();
  trouble_.reset();
  {
    MutexLock lock(mutex_);
    state_->stuck_bytes = 0;
  }
  enter(Phase::kLooking);
  TRYV(parts_.wait_for_whole(stop));
  TRYV(publish(stop));
  TRY(Found found, look(stop));
  if (found.bytes > 0) {
    enter(Phase::kSealing);
    TRYV(seal(found, stop));
    if (sealed_in_pass_ > 0) return false;
    if (trouble_) return fail(Code::kCorrupt, "there is data that cannot be read: " + trouble_->what());
    return false;
  }
  enter(Phase::kCheckpoint);
  TRYV(failpoint("sync.rewrite_checkpoint"));
  checkpoints_.write_anew();
  while (!checkpoints_.written_anew()) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "coffer is stopping");
    wait(kTick);
  }
  // What came meanwhile, from a device that had not seen the new epoch.
  TRY(found, look(stop));
  if (found.bytes > 0 || c_.replica.epoch_keys().epoch() != epoch_) return false;
  TRYV(finish());
  return true;
}

Result<void> Rewriter::finish() {
  {
    MutexLock lock(mutex_);
    if (state_->epoch > epoch_) return {};  // a later one has been asked for since
    state_->phase = Phase::kDone;
    state_->finished = c_.clock.wall();
  }
  if (auto kept = keep(); !kept) {
    enter(Phase::kCheckpoint);
    return kept;
  }
  c_.problems.clear(kProblem);
  old_.clear();
  known_.clear();
  return {};
}

Result<void> Rewriter::visit_files(const std::stop_token& stop,
                                   const std::function<Result<void>(Ino, std::vector<Extent>)>& visit) {
  for (Ino after = 0;;) {
    TRY(auto ino, c_.replica.next_file(after));
    if (!ino) return {};
    for (uint64_t offset = 0;;) {
      if (stop.stop_requested()) return fail(Code::kCancelled, "coffer is stopping");
      TRY(auto extents, c_.replica.next_extents(*ino, offset, kExtentsAtOnce));
      if (extents.empty()) break;
      offset = extents.back().end();
      TRYV(visit(*ino, std::move(extents)));
    }
    after = *ino;
  }
}

Result<Rewriter::Found> Rewriter::look(const std::stop_token& stop) {
  Found out;
  std::vector<std::pair<uint64_t, uint32_t>> frames;
  TRYV(visit_files(stop, [&](Ino, std::vector<Extent> extents) -> Result<void> {
    for (const Extent& e : extents) {
      TRY(bool old, is_old(e, stop));
      if (old) frames.emplace_back(short_name(e.frame), e.frame.length);
    }
    return {};
  }));
  std::ranges::sort(frames);
  for (size_t i = 0; i < frames.size(); ++i) {
    if (i > 0 && frames[i].first == frames[i - 1].first)
      out.shared.insert(frames[i].first);
    else
      out.bytes += frames[i].second;
  }
  MutexLock lock(mutex_);
  state_->counted = true;
  state_->left_bytes = out.bytes;
  return out;
}

// By what its pack was found to be, or by opening it. What cannot be had counts as old: nobody knows better.
Result<bool> Rewriter::is_old(const Extent& extent, const std::stop_token& stop) {
  const ObjectId& pack = extent.frame.pack;
  if (auto known = old_.find(pack); known != old_.end()) return known->second;
  if (unreadable_.contains(extent.frame)) return true;
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto epoch = c_.replica.packs().epoch_of(extent.frame, extent.frame_length);
    if (attempt > 0) drop_fetched();
    if (epoch) return old_.emplace(pack, *epoch < epoch_).first->second;
    if (epoch.error().code() == Code::kCorrupt)
      (void)c_.replica.drop_frame(extent.frame);
    else if (epoch.error().code() != Code::kNotFound)
      return fail(epoch.error());
    if (attempt == 0) TRYV(fetch({{extent}}, stop));
    if (unreadable_.contains(extent.frame)) break;
  }
  return true;
}

// Afterwards it is here, or among what is unreadable. An error: the store is away.
Result<void> Rewriter::fetch(std::vector<Missing> missing, const std::stop_token& stop) {
  auto get = [&](std::vector<Missing> some) -> Result<void> {
    auto promise = std::make_shared<std::promise<Result<void>>>();
    auto answer = promise->get_future();
    fetches_.fetch(std::move(some), stop, [promise](Result<void> r) { promise->set_value(std::move(r)); });
    return answer.get();
  };
  auto done = get(missing);
  // One by one, to find out which it is.
  for (const Missing& m : missing) {
    if (!done) {
      auto one = get({m});
      if (!one &&
          (one.error().retryable() || one.error().code() == Code::kCancelled || one.error().code() == Code::kTimedOut))
        return one;
      if (!one) {
        give_up(m.extent.frame, one.error());
        continue;
      }
    }
    // Its hash is right, so the store has no better one; but what no key opens is as good as lost, and must not be asked for
    // again and again.
    auto opens = c_.replica.packs().epoch_of(m.extent.frame, m.extent.frame_length);
    if (!opens && opens.error().code() == Code::kCorrupt) {
      (void)c_.replica.drop_frame(m.extent.frame);
      give_up(m.extent.frame, opens.error());
      continue;
    }
    fetched_.insert(m.extent.frame);
  }
  return {};
}

void Rewriter::give_up(const FrameRef& frame, const Error& why) {
  if (!unreadable_.insert(frame).second) return;
  if (!trouble_) trouble_ = why;
  MutexLock lock(mutex_);
  state_->stuck_bytes += frame.length;
}

Result<void> Rewriter::seal(const Found& found, const std::stop_token& stop) {
  TRYV(visit_files(stop, [&](Ino ino, std::vector<Extent> extents) -> Result<void> {
    std::vector<Extent> old;
    for (const Extent& e : extents) {
      TRY(bool is, is_old(e, stop));
      if (is && !unreadable_.contains(e.frame)) old.push_back(e);
    }
    if (old.empty()) return {};
    return seal_extents(ino, std::move(old), found, stop);
  }));
  return publish(stop);
}

Result<void> Rewriter::seal_extents(Ino ino, std::vector<Extent> extents, const Found& found,
                                    const std::stop_token& stop) {
  std::set<FrameRef> counted;  // frames that were sealed before, or are in the sum
  for (const Extent& e : extents)
    if (known_.contains(e.frame)) counted.insert(e.frame);
  TRY(auto missing, c_.replica.seal_anew(ino, extents, known_));
  if (!missing.empty()) {
    TRYV(fetch(std::move(missing), stop));
    std::erase_if(extents, [this](const Extent& e) { return unreadable_.contains(e.frame); });
    TRY(missing, c_.replica.seal_anew(ino, extents, known_));
    if (!missing.empty()) return {};  // evicted already: the next pass tries again
  }
  TRYV(failpoint("sync.rewrite_sealed"));
  uint64_t bytes = 0;
  for (const Extent& e : extents) {
    auto fresh = known_.find(e.frame);
    if (fresh == known_.end() || !counted.insert(e.frame).second) continue;
    // What had to come from the store is not kept here under another name either.
    if (fetched_.contains(e.frame)) fetched_.insert(fresh->second.frame);
    bytes += e.frame.length;
  }
  std::erase_if(known_, [&](const auto& item) { return !found.shared.contains(short_name(item.first)); });
  since_publish_ += bytes;
  sealed_in_pass_ += bytes;
  {
    MutexLock lock(mutex_);
    state_->done_bytes += bytes;
    state_->left_bytes -= std::min(bytes, state_->left_bytes);
  }
  places_ += extents.size();
  return since_publish_ >= kPublishAfter || places_ >= kPublishPlaces ? publish(stop) : Result<void>{};
}

Result<void> Rewriter::publish(const std::stop_token& stop) {
  TRYV(failpoint("sync.rewrite_publish"));
  TRYV(sync_(stop));
  since_publish_ = 0;
  places_ = 0;
  drop_fetched();
  return {};
}

void Rewriter::drop_fetched() {
  std::erase_if(fetched_, [this](const FrameRef& frame) { return c_.replica.drop_frame(frame); });
}

}  // namespace coffer
