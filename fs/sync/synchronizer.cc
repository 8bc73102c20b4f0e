#include "fs/sync/synchronizer.h"

#include <algorithm>

#include "base/log.h"
#include "fs/replica/row_parts.h"
#include "fs/sync/absent_packs.h"
#include "fs/sync/checkpoint_writer.h"
#include "fs/sync/collector.h"
#include "fs/sync/context.h"
#include "fs/sync/fetch_pool.h"
#include "fs/sync/news.h"
#include "fs/sync/part_loader.h"
#include "fs/sync/publisher.h"
#include "fs/sync/rewriter.h"

namespace coffer {

namespace {

constexpr Nanos kProgressEvery = std::chrono::milliseconds(200);
constexpr int kCollectAttempts = 3;
constexpr Nanos kFirstLoadPatience = std::chrono::seconds(60);

FetchPool::Options fetch_options(const SyncOptions& options) {
  FetchPool::Options out;
  out.clock = options.clock;
  out.timeout = options.fetch_timeout;
  out.threads = std::max(1u, options.fetches);
  return out;
}

FetchPool::Backend fetch_backend(Replica& replica, AbsentPacks& absent) {
  return {[&replica](const ObjectId& pack) { return replica.place_of(pack); },
          [&replica](const FrameRef& ref, BytesView sealed) { return replica.keep_frame(ref, sealed); },
          [&absent](const ObjectId& pack, const std::string& key, bool there) { absent.answered(pack, key, there); }};
}

}  // namespace

struct Synchronizer::Impl {
  Impl(Replica& replica, ObjectStore& store, const DeviceIdentity& identity, const VolumeSecrets& secrets,
       SyncOptions options, std::function<Result<void>(const std::stop_token&)> sync)
      : context(replica, store, identity, secrets, options),
        parts(context),
        news(context, parts),
        publisher(context, news),
        collector(context, news),
        checkpoints(context, news, collector),
        absent(context),
        fetches(context.store, fetch_backend(replica, absent), fetch_options(options)),
        rewriter(context, parts, fetches, checkpoints, std::move(sync)) {
    parts.on_failure([this] { news.rounds().request(); });
    bell->rings = this;
    context.wake_publisher = [this] { publisher.rounds().wake(); };
  }

  uint64_t waiting_bytes() const { return context.replica.counters().pending_bytes + publisher.outgoing_bytes(); }

  // What the replica calls; it may do so from its own threads until it is closed, which is after we are gone.
  struct Bell {
    Mutex mutex{Rank::kSync};
    Impl* rings GUARDED_BY(mutex) = nullptr;
  };
  const std::shared_ptr<Bell> bell = std::make_shared<Bell>();

  SyncContext context;
  PartLoader parts;
  News news;
  Publisher publisher;
  Collector collector;
  CheckpointWriter checkpoints;
  AbsentPacks absent;
  FetchPool fetches;
  Rewriter rewriter;
  std::stop_source stopping;
  bool started = false, stopped = false;
};

Synchronizer::Synchronizer(Replica& replica, ObjectStore& store, const DeviceIdentity& identity,
                           const VolumeSecrets& secrets, SyncOptions options)
    : impl_(std::make_unique<Impl>(replica, store, identity, secrets, options,
                                   [this](const std::stop_token& stop) { return sync(stop, {}); })) {
  replica.on_pending([bell = impl_->bell] {
    MutexLock lock(bell->mutex);
    if (!bell->rings) return;
    bell->rings->news.note_activity();
    bell->rings->publisher.something_pending();
  });
}

Synchronizer::~Synchronizer() {
  stop(false);
  auto bell = impl_->bell;
  MutexLock lock(bell->mutex);
  bell->rings = nullptr;
}

Result<void> Synchronizer::start() {
  Impl& s = *impl_;
  TRY(auto rows, s.context.replica.rows_with_prefix(LogTails::kTailPrefix));
  TRYV(s.context.tails.load(rows));
  TRYV(s.context.load_revocations());
  TRYV(s.context.kept.load());
  TRYV(s.publisher.load());
  s.collector.load();
  TRYV(s.rewriter.load());
  s.started = true;
  TRYV(s.parts.begin());
  s.fetches.start();
  s.news.start();
  s.publisher.start();
  s.checkpoints.start();
  s.rewriter.start();
  return {};
}

Result<void> Synchronizer::load_first(std::stop_token stop) {
  Impl& s = *impl_;
  const Nanos until = s.context.clock.monotonic() + kFirstLoadPatience;
  s.news.want_all();
  uint64_t round = s.news.rounds().request();
  for (;;) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "interrupted");
    auto ended = s.news.rounds().wait(round, kProgressEvery);
    if (!ended) continue;
    TRY(bool root, s.context.replica.has_root());
    if (ended->outcome && root) return {};
    if (ended->outcome && !s.news.incomplete()) return {};  // an empty volume
    if (!ended->outcome && !ended->outcome.error().retryable()) return ended->outcome;
    if (s.context.clock.monotonic() < until) {
      round = ended->round + 1;  // it tries again by itself
      continue;
    }
    if (!ended->outcome) return ended->outcome;
    for (const Problem& p : s.context.problems.list()) return fail(Code::kCorrupt, p.what);
    return fail(Code::kUnavailable, "the volume's first records have not arrived in the store yet");
  }
}

Result<void> Synchronizer::load_rest(std::stop_token stop) { return impl_->parts.wait_for_whole(stop); }

Result<void> Synchronizer::sync(std::stop_token stop, const std::function<void(const SyncProgress&)>& progress) {
  Impl& s = *impl_;
  if (!s.started || s.stopped) return fail(Code::kCancelled, "coffer is stopping");
  const uint64_t uploaded_before = s.context.store.uploaded_bytes();
  uint64_t publishing = s.publisher.rounds().request();
  s.news.look_again();
  uint64_t looking = s.news.rounds().request();
  bool published = false, looked = false;
  Nanos next_report{0};
  for (;;) {
    if (stop.stop_requested()) return fail(Code::kCancelled, "interrupted");
    auto follow = [](Rounds& rounds, uint64_t& round, bool& done) -> Result<void> {
      if (done) return {};
      auto ended = rounds.wait(round, kProgressEvery / 4);
      if (!ended) return {};
      if (ended->outcome)
        done = true;
      else if (ended->outcome.error().retryable())
        round = ended->round + 1;  // it tries again by itself, ever more seldom
      else
        return ended->outcome;
      return {};
    };
    TRYV(follow(s.publisher.rounds(), publishing, published));
    TRYV(follow(s.news.rounds(), looking, looked));
    Nanos now = s.context.clock.monotonic();
    bool done = published && looked;
    if (progress && (done || now >= next_report)) {
      next_report = now + kProgressEvery;
      SyncProgress p;
      p.done_bytes = s.context.store.uploaded_bytes() - uploaded_before;
      p.total_bytes = p.done_bytes + (done ? 0 : s.waiting_bytes());
      p.waiting_files = done ? 0 : s.context.replica.counters().pending_files;
      p.rate = s.context.store.upload_rate();
      progress(p);
    }
    if (done) return {};
  }
}

Result<Collection> Synchronizer::collect(const CollectOptions& options, std::stop_token stop,
                                         const std::function<void(const SyncProgress&)>& progress) {
  Impl& s = *impl_;
  std::stop_source end;
  auto give_up = [&end] { end.request_stop(); };
  std::stop_callback asked(stop, give_up), stopping(s.stopping.get_token(), give_up);
  TRYV(s.parts.wait_for_whole(end.get_token()));
  TRYV(sync(end.get_token(), progress));
  for (int attempt = 0;; ++attempt) {
    // What was published is settled here only when news was looked for after it.
    const uint64_t round = s.news.rounds().request();
    while (!s.news.rounds().wait(round, kProgressEvery))
      if (end.stop_requested()) return fail(Code::kCancelled, "interrupted");
    auto done = s.collector.run(options, end.get_token(), progress);
    if (done || done.error().code() != Code::kBusy || attempt == kCollectAttempts) return done;
  }
}

Result<void> Synchronizer::rewrite(Epoch epoch, std::stop_token stop,
                                   const std::function<void(const SyncProgress&)>& progress) {
  Impl& s = *impl_;
  if (!s.started || s.stopped) return fail(Code::kCancelled, "coffer is stopping");
  TRYV(s.rewriter.want(epoch));
  Rounds never;
  for (;;) {
    const auto now = s.rewriter.state();
    if (!now) return fail(Code::kInternal, "nothing is sealed anew");
    if (progress && now->counted)
      progress({now->done_bytes, now->done_bytes + now->left_bytes, 0, s.context.store.upload_rate()});
    if (now->phase == Rewriting::Phase::kDone) return {};
    if (stop.stop_requested() || s.stopping.stop_requested()) return fail(Code::kCancelled, "interrupted");
    never.wait_for_work(kProgressEvery);
  }
}

void Synchronizer::stop(bool close_log) {
  Impl& s = *impl_;
  if (s.stopped || !s.started) return;
  s.rewriter.stop();
  s.stopped = true;
  s.stopping.request_stop();
  s.fetches.stop();
  s.publisher.stop();
  s.checkpoints.stop();
  s.news.stop();
  s.parts.stop();
  if (close_log) {
    if (auto closed = s.publisher.close_log(); !closed)
      log_line(LogLevel::kWarning, "this device's log is not closed yet: " + closed.error().what());
  }
}

void Synchronizer::fetch(std::vector<Missing> missing, std::stop_token stop, std::function<void(Result<void>)> done) {
  std::vector<ObjectId> packs;
  for (const Missing& m : missing)
    if (packs.empty() || packs.back() != m.extent.frame.pack) packs.push_back(m.extent.frame.pack);
  Problems& problems = impl_->context.problems;
  auto told = [&problems, packs = std::move(packs), done = std::move(done)](Result<void> outcome) {
    for (const ObjectId& pack : packs) {
      if (outcome) {
        problems.clear("pack " + pack.str());
      } else if (outcome.error().code() == Code::kCorrupt) {
        problems.set(
            "pack " + pack.str(), "data in the store is damaged: " + outcome.error().what(),
            "Files that need it cannot be read there. A device that still has the data can put it back "
            "(`coffer check --repair`); otherwise ask whoever runs the store for an earlier copy of the object.");
      }
    }
    done(std::move(outcome));
  };
  impl_->fetches.fetch(std::move(missing), std::move(stop), std::move(told));
}

void Synchronizer::fetch_parts(std::set<size_t> parts, std::stop_token stop, std::function<void(Result<void>)> done) {
  impl_->parts.bring(parts, std::move(stop), std::move(done));
}

std::vector<KnownHead> Synchronizer::heads() const {
  std::vector<KnownHead> out;
  for (const LogTail& tail : impl_->context.tails.to_quote({}, {}, true)) out.push_back({tail.head(), tail.name});
  return out;
}

SyncStatus Synchronizer::status() const {
  Impl& s = *impl_;
  SyncStatus out;
  ReplicaCounters counters = s.context.replica.counters();
  out.online = s.context.store.online();
  out.waiting_bytes = counters.pending_bytes + s.publisher.outgoing_bytes();
  out.waiting_files = counters.pending_files;
  out.uploaded_bytes = s.context.store.uploaded_bytes();
  out.upload_rate = s.context.store.upload_rate();
  out.last_published = s.publisher.last_published();
  out.last_news_check = s.news.checked_when();
  out.news_incomplete = s.news.incomplete();
  s.absent.tell();
  out.problems = s.context.problems.list();
  out.not_here_yet = s.context.not_here_yet.list();
  out.conflicts = s.context.conflicts;
  out.last_collection = s.collector.last();
  out.parts = s.context.replica.parts().count();
  out.parts_missing = s.context.replica.parts().missing();
  out.rewriting = s.rewriter.state();

  DeviceStatus self;
  self.name = s.context.identity.name;
  self.device = s.context.identity.device;
  self.log = s.context.own.log();
  self.self = true;
  if (const auto& vouchers = s.context.identity.certificate.vouchers; !vouchers.empty())
    self.let_in_by = vouchers.back().device;
  std::map<DeviceId, DeviceStatus> newest;
  newest.emplace(self.device, std::move(self));
  const WallTime silent = s.context.silent();
  for (const LogTail& tail : s.context.tails.all()) {
    DeviceStatus& device = newest[tail.device];
    ++device.runs;
    device.records += tail.number;
    if (tail.opened.ns != 0 && (!device.since || tail.opened < *device.since)) device.since = tail.opened;
    if (device.number > 0 && tail.when < device.when) continue;
    device.name = tail.name;
    device.device = tail.device;
    device.log = tail.log;
    device.number = tail.number;
    device.when = tail.when;
    device.let_in_by = tail.vouchers.empty() ? std::nullopt : std::optional(tail.vouchers.back());
    device.revoked = tail.revoked;
    device.silent = !device.self && tail.open() && tail.when < silent;
  }
  newest[s.context.identity.device].revoked = s.context.revoked;
  for (auto& [id, device] : newest) out.devices.push_back(std::move(device));
  return out;
}

}  // namespace coffer
