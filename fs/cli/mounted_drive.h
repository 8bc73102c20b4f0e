// The daemon: a volume while it is mounted, and its orderly end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "fs/cli/confinement.h"
#include "fs/cli/control_server.h"
#include "fs/cli/failure.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/rate_window.h"
#include "fs/cli/remote_waits.h"
#include "fs/cli/signals.h"
#include "fs/fuse/mount.h"

namespace coffer::cli {

// One mounted volume. run() is called once, by the main thread; the actions come from the control server's threads, the
// rest from threads of its own, which end before run() returns.
class MountedDrive : public ControlActions {
 public:
  struct Facts {
    std::string mount_point;
    std::string source;       // STORE as it was given
    bool log_to_file = true;  // and so has a log to turn
    Confinement confinement;
  };

  // `waits` is what the mount's remote_sync listens to.
  MountedDrive(OpenDrive drive, std::unique_ptr<Mount> mount, std::shared_ptr<RemoteWaits> waits, Facts facts);
  ~MountedDrive() override;

  // Once, before run(): from here on other commands find this mount; what they ask is answered once run() is under way.
  Outcome<void> announce();

  // Serves until somebody unmounts, then keeps, publishes and closes what there is. The error is that of the serving,
  // or of work that could not be kept.
  Outcome<void> run(SignalFd& signals);

  nlohmann::json status() override;
  Outcome<nlohmann::json> sync(std::stop_token stop, const Report& report) override;
  Outcome<nlohmann::json> collect(const CollectOptions& options, std::stop_token stop, const Report& report) override;
  Outcome<nlohmann::json> let_in(const std::string& code) override;
  Outcome<nlohmann::json> rewrite(Epoch epoch, std::stop_token stop, const Report& report) override;
  Outcome<nlohmann::json> unmount(const Request& how, std::stop_token stop, std::stop_token hurry,
                                  const Report& report) override;

 private:
  enum class Phase { kMounted, kFinishing, kEnded };
  // How long publishing may take.
  struct Patience {
    std::optional<Nanos> away;   // without the store
    std::optional<Nanos> total;  // zero: nothing more goes up
  };
  // Who asked for the end, and with it, how much may still be done before it.
  struct Leave {
    std::stop_token hurry;  // meanwhile asked to leave the rest
    Report report;          // may be empty
    Patience patience{{}, Nanos(0)};
  };

  // Waits until all is in the store; kCutShort when patience runs out.
  Outcome<void> publish_all(std::vector<std::stop_token> stops, Patience patience, const Report& report);
  // `moved_before`: what had gone over the wire when this began.
  ProgressSample sample_from(const SyncProgress& progress, uint64_t moved_before);
  double upload_rate();
  // Retries for a moment: a file that is just being closed, or an fsync that was just told to end, is soon gone.
  Result<void> take_down(bool lazy);
  void finish();
  void on_signal();
  void watch_signals(std::stop_token stop, SignalFd& signals);

  OpenDrive drive_;
  std::unique_ptr<Mount> mount_;  // outlives the serving: other threads may be about to unmount
  const std::shared_ptr<RemoteWaits> waits_;
  const Facts facts_;
  const WallTime since_;
  Fd listener_;  // of the control socket, between announce() and run()

  Mutex mutex_{Rank::kControl};
  CondVar changed_;
  Phase phase_ GUARDED_BY(mutex_) = Phase::kMounted;
  std::optional<Leave> leave_ GUARDED_BY(mutex_);
  std::optional<Failure> end_failure_ GUARDED_BY(mutex_);
  uint64_t left_bytes_ GUARDED_BY(mutex_) = 0, left_files_ GUARDED_BY(mutex_) = 0;
  bool revoked_ GUARDED_BY(mutex_) = false;               // what is left never goes up
  std::optional<WallTime> disk_full_ GUARDED_BY(mutex_);  // since when somebody saw it
  RateWindow uploads_ GUARDED_BY(mutex_);
};

}  // namespace coffer::cli
