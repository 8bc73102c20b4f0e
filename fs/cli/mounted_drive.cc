#include "fs/cli/mounted_drive.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>

#include "base/log.h"
#include "base/thread.h"
#include "fs/cli/control_socket.h"
#include "fs/cli/format.h"
#include "fs/cli/letting_in.h"
#include "fs/cli/log_file.h"
#include "fs/cli/registry.h"
#include "fs/cli/status_json.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

constexpr Nanos kUnmountPatience = std::chrono::seconds(20);  // coffer unmount, with the store away
constexpr Nanos kUmountGrace = std::chrono::seconds(5);       // umount(8): nobody sees us work on
constexpr Nanos kWatchInterval = std::chrono::milliseconds(200);
constexpr Nanos kLastUserPatience = std::chrono::seconds(15);  // from the unmount until the kernel ends the connection
constexpr int kBusyRetries = 5;

// Sleeps; false when `stop` came first.
bool sleep_for(std::stop_token stop, Nanos time) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  return !wake.wait_for(lock, stop, time, [&stop] { return stop.stop_requested(); });
}

}  // namespace

MountedDrive::MountedDrive(OpenDrive drive, std::unique_ptr<Mount> mount, std::shared_ptr<RemoteWaits> waits,
                           Facts facts)
    : drive_(std::move(drive)),
      mount_(std::move(mount)),
      waits_(std::move(waits)),
      facts_(std::move(facts)),
      since_(Clock::system().wall()) {}

MountedDrive::~MountedDrive() = default;

Outcome<void> MountedDrive::announce() {
  const std::string directory = drive_.volume->directory.path();
  TRY(listener_, listen_control(directory));
  drive_.volume->directory.announce(facts_.mount_point);
  if (auto r = register_mount({facts_.mount_point, directory, ::getpid()}); !r)
    log_line(LogLevel::kWarning, "coffer status and unmount will not find this mount: " + r.error().what);
  return {};
}

Outcome<void> MountedDrive::run(SignalFd& signals) {
  log_line(LogLevel::kInfo, "confined: " + confinement_text(confinement_json(facts_.confinement)));
  auto server = std::make_unique<ControlServer>(std::move(listener_), *this);
  auto signal_thread = start_thread("signals", [&](std::stop_token stop) { watch_signals(stop, signals); });

  auto served = mount_->serve();
  if (!served) log_line(LogLevel::kError, "serving ended: " + served.error().what());

  unregister_mount(facts_.mount_point);
  drive_.volume->directory.announce("");
  finish();
  server.reset();  // everybody who asked for the end has his answer now
  ::unlink((drive_.volume->directory.path() + "/control").c_str());
  waits_->end();

  MutexLock lock(mutex_);
  if (end_failure_) return give_up(*end_failure_);
  if (!served) return give_up(Failure(served.error()));
  return {};
}

void MountedDrive::finish() {
  Leave leave{{}, {}, {{}, kUmountGrace}};
  {
    MutexLock lock(mutex_);
    phase_ = Phase::kFinishing;
    changed_.notify_all();
    if (leave_) leave = *leave_;
  }
  std::optional<Failure> failure;
  if (auto kept = drive_.replica->sync_all(true); !kept)
    failure = Failure(kept.error()).in("what was written last could not be kept");
  // What was written between the last publishing and the unmount.
  if (leave.patience.total != Nanos(0) && !failure) (void)publish_all({leave.hurry}, leave.patience, leave.report);
  SyncStatus status = drive_.synchronizer->status();
  bool all_published = status.waiting_bytes == 0 && status.waiting_files == 0;
  drive_.synchronizer->stop(all_published);
  if (auto closed = drive_.replica->close(); !closed && !failure)
    failure = Failure(closed.error()).in("the replica did not close");
  if (failure)
    log_line(LogLevel::kError, failure->what);
  else if (!all_published)
    log_line(LogLevel::kInfo, "unmounted; " + format_bytes(status.waiting_bytes) + " wait for the next mount");
  MutexLock lock(mutex_);
  phase_ = Phase::kEnded;
  end_failure_ = failure;
  left_bytes_ = status.waiting_bytes;
  left_files_ = status.waiting_files;
  revoked_ = std::ranges::any_of(status.devices, [](const DeviceStatus& d) { return d.self && d.revoked; });
  changed_.notify_all();
}

ProgressSample MountedDrive::sample_from(const SyncProgress& p, uint64_t moved_before) {
  SyncStatus status = drive_.synchronizer->status();
  ProgressSample sample{p.done_bytes, p.total_bytes, p.waiting_files, upload_rate(), status.online, ""};
  // The synchronizer counts whole objects; what has gone of one that is under way is seen on the wire only.
  uint64_t moved = drive_.meter->counters().bytes_up - moved_before;
  sample.done_bytes = std::max(p.done_bytes, std::min(moved, p.total_bytes));
  if (!status.problems.empty()) sample.trouble = status.problems.front().what;
  return sample;
}

double MountedDrive::upload_rate() {
  uint64_t moved = drive_.meter->counters().bytes_up;
  MutexLock lock(mutex_);
  uploads_.record(Clock::system().monotonic(), moved);
  return uploads_.rate();
}

Outcome<void> MountedDrive::publish_all(std::vector<std::stop_token> stops, Patience patience, const Report& report) {
  std::stop_source end;
  auto pass_on = [&end] { end.request_stop(); };
  std::list<std::stop_callback<decltype(pass_on)>> callbacks;
  for (std::stop_token& s : stops) callbacks.emplace_back(s, pass_on);

  std::atomic<bool> lost_patience = false;
  std::jthread watch;
  if (patience.away || patience.total) {
    watch = start_thread("patience", [&](std::stop_token stop) {
      const Clock& clock = Clock::system();
      const Nanos begin = clock.monotonic();
      Nanos last_good = begin;
      uint64_t uploaded = 0;
      while (sleep_for(stop, kWatchInterval)) {
        SyncStatus status = drive_.synchronizer->status();
        Nanos now = clock.monotonic();
        if (status.online || status.uploaded_bytes != uploaded) last_good = now;
        uploaded = status.uploaded_bytes;
        bool patient =
            (!patience.away || now - last_good < *patience.away) && (!patience.total || now - begin < *patience.total);
        if (patient) continue;
        lost_patience = true;
        end.request_stop();
        return;
      }
    });
  }
  const uint64_t moved_before = drive_.meter->counters().bytes_up;
  auto synced = drive_.synchronizer->sync(end.get_token(), [&](const SyncProgress& p) {
    if (report) report(sample_from(p, moved_before));
  });
  watch.request_stop();
  if (watch.joinable()) watch.join();
  if (synced) return {};
  if (lost_patience) return give_up(Exit::kCutShort, "the store cannot be reached");
  return give_up(Failure(synced.error()));
}

json MountedDrive::status() {
  Phase phase;
  ReplicaCounters replica = drive_.replica->counters();
  std::optional<WallTime> disk_full;
  {
    MutexLock lock(mutex_);
    phase = phase_;
    if (!replica.disk_full)
      disk_full_.reset();
    else if (!disk_full_)
      disk_full_ = Clock::system().wall();
    disk_full = disk_full_;
  }
  SyncStatus sync = drive_.synchronizer->status();
  sync.upload_rate = upload_rate();
  if (disk_full) {
    sync.problems.push_back({"the disk with the state directory is full",
                             "Make room there. Nothing is lost; files can be removed, and what is written goes up.",
                             *disk_full});
  }
  json out = status_json(sync, Clock::system().wall());
  out["cache"] = cache_json(replica);
  out["version"] = 1;
  out["state"] = phase == Phase::kMounted ? "mounted" : "finishing";
  out["mount"] = facts_.mount_point;
  out["store"] = drive_.store->describe();
  out["volume"] = drive_.volume->directory.volume().str();
  out["device"] = drive_.volume->identity.name;
  out["pid"] = ::getpid();
  out["confined"] = confinement_json(facts_.confinement);
  out["since"] = format_time(since_);
  out["counters"] = {{"store", counters_json(drive_.meter->counters())},
                     {"replica", counters_json(replica)},
                     {"upcalls", counters_json(mount_->upcalls())}};
  return out;
}

Outcome<json> MountedDrive::sync(std::stop_token stop, const Report& report) {
  std::stop_token ending = waits_->token();
  auto done = publish_all({stop, ending}, {}, report);
  if (done) return json{{"news_incomplete", drive_.synchronizer->status().news_incomplete}};
  if (ending.stop_requested()) return give_up(Exit::kCutShort, "the volume is being unmounted; what is left is kept");
  return give_up(done.error());
}

Outcome<json> MountedDrive::collect(const CollectOptions& options, std::stop_token stop, const Report& report) {
  auto done = drive_.synchronizer->collect(options, stop, [&](const SyncProgress& p) {
    report({p.done_bytes, p.total_bytes, p.waiting_files, p.rate, drive_.synchronizer->status().online, ""});
  });
  if (!done) return give_up(collect_failure(done.error()));
  return collection_json(*done);
}

Outcome<json> MountedDrive::let_in(const std::string& code) {
  TRY(DeviceId device, cli::let_in(drive_, code));
  log_line(LogLevel::kInfo, "device " + device.str() + " was let in");
  return json{{"device", device.str()}};
}

Outcome<json> MountedDrive::rewrite(Epoch epoch, std::stop_token stop, const Report& report) {
  auto done = drive_.synchronizer->rewrite(epoch, stop, [&](const SyncProgress& p) {
    const SyncStatus status = drive_.synchronizer->status();
    std::string trouble = status.problems.empty() ? "" : status.problems.front().what;
    report({p.done_bytes, p.total_bytes, 0, p.rate, status.online, std::move(trouble)});
  });
  if (!done) return give_up(Failure(done.error()));
  return rewriting_json(drive_.synchronizer->status().rewriting);
}

Outcome<json> MountedDrive::unmount(const Request& how, std::stop_token stop, std::stop_token hurry,
                                    const Report& report) {
  std::string reason;
  if (!how.now) {
    auto done = publish_all({stop, hurry, waits_->token()}, {kUnmountPatience, {}}, report);
    if (stop.stop_requested()) return give_up(Exit::kCutShort, "nobody waits for the unmount any more");
    if (!done && !hurry.stop_requested()) reason = done.error().what;
  }
  bool cut_short = how.now || hurry.stop_requested() || !reason.empty();
  {
    MutexLock lock(mutex_);
    leave_ = Leave{hurry, report, cut_short ? Patience{{}, Nanos(0)} : Patience{kUnmountPatience, {}}};
  }
  // An fsync that waits for the store holds its file open, and with it the mount.
  if (cut_short) waits_->end();
  if (auto unmounted = take_down(how.lazy); !unmounted) {
    MutexLock lock(mutex_);
    if (phase_ == Phase::kMounted) {
      leave_.reset();
      waits_->renew();
      if (unmounted.error().code() != Code::kBusy) return give_up(Failure(unmounted.error()));
      return give_up(Exit::kBusy, "files on " + facts_.mount_point + " are in use",
                     "Close them (fuser -vm " + facts_.mount_point + " names who uses them), or give --lazy.");
    }
  }
  MutexLock lock(mutex_);
  while (phase_ == Phase::kMounted)
    if (!changed_.wait_for(mutex_, kLastUserPatience))
      return give_up(
          Exit::kBusy, facts_.mount_point + " is not mounted here any more, but in another mount namespace it still is",
          "A container or service that was started meanwhile has it (lsns -t mnt lists them). When that ends, "
          "coffer ends as well; nothing is lost.");
  while (phase_ != Phase::kEnded) changed_.wait(mutex_);
  if (end_failure_) return give_up(*end_failure_);
  return json{{"left_bytes", left_bytes_}, {"left_files", left_files_}, {"reason", reason}, {"revoked", revoked_}};
}

Result<void> MountedDrive::take_down(bool lazy) {
  for (int attempt = 0;; ++attempt) {
    auto unmounted = mount_->unmount(lazy);
    if (unmounted || unmounted.error().code() != Code::kBusy || attempt == kBusyRetries) return unmounted;
    ::usleep(100'000);
  }
}

void MountedDrive::on_signal() {
  {
    MutexLock lock(mutex_);
    leave_ = Leave{};
  }
  waits_->end();
  // Whoever sends a signal wants us gone: open files do not keep us.
  if (auto gently = take_down(false); !gently)
    if (auto lazily = mount_->unmount(true); !lazily)
      log_line(LogLevel::kError, "cannot unmount: " + lazily.error().what());
}

void MountedDrive::watch_signals(std::stop_token stop, SignalFd& signals) {
  while (!stop.stop_requested()) {
    pollfd wait{signals.fd(), POLLIN, 0};
    // Wakes often enough to end with the rest, and to keep the log small.
    if (::poll(&wait, 1, 500) > 0) {
      int signal = signals.take();
      // A daemon has no terminal that could hang up.
      if (signal == SIGINT || signal == SIGTERM || (signal == SIGHUP && !facts_.log_to_file)) on_signal();
    }
    (void)upload_rate();  // keeps the window going, for who asks next
    if (facts_.log_to_file) turn_log(drive_.volume->directory.path());
  }
}

}  // namespace coffer::cli
