// One machine: a state directory, and runs of coffer on it that end in order or by a crash.
#pragma once

#include <memory>
#include <string>

#include "tests/sim/kernel.h"
#include "tests/sim/world.h"

namespace coffer::sim {

// Wall clocks of machines differ.
class MachineClock : public Clock {
 public:
  explicit MachineClock(Nanos skew) : skew_(skew) {}
  WallTime wall() const override { return {(Scheduler::current()->now() + skew_).count()}; }
  Nanos monotonic() const override { return Scheduler::current()->now(); }

 private:
  const Nanos skew_;
};

class Machine {
 public:
  // A device that joins. Its state directory is empty until start().
  Machine(World& world, unsigned number);
  // The same state directory, copied while its machine runs, on another machine.
  Machine(Machine& other, unsigned number);
  ~Machine();

  unsigned number() const { return number_; }
  const std::string& name() const { return name_; }

  // As `coffer mount`; false: the store did not answer, or has only a part of what is needed. It is as it was.
  bool start();
  // As `coffer unmount`: what can be published is, and the log is closed.
  void stop();
  // As kill -9: nothing that runs has any more effect, on the state directory or on the store.
  void crash();
  bool running() const { return run_ != nullptr; }
  void set_online(bool online);
  void hide(std::string prefix) { hidden_ = std::move(prefix); }

  void take_backup();
  bool has_backup() const { return backup_.has_value(); }
  void restore_backup();  // while it does not run

  // A burst of work by a few programs at once, `steps` system calls each. When `crash_within` is given, the machine ends
  // somewhere in it.
  void work(Random& random, unsigned programs, unsigned steps, std::optional<Nanos> crash_within);
  void close_files() { run_->kernel.unmount(); }
  // Publishes all and takes all news; an error when that takes longer than `patience`.
  Result<void> sync(Nanos patience);
  Result<Collection> collect();  // old records into archives; nothing else is old enough to go

  std::string tree(std::set<Hash>* live) { return run_->kernel.tree(live); }
  std::vector<std::string> faults();
  SyncStatus status() { return run_->sync.status(); }

 private:
  struct Run {
    Run(World& world, Machine& machine, std::unique_ptr<Replica> opened);
    std::shared_ptr<Connection> connection;
    std::unique_ptr<Replica> replica;
    Synchronizer sync;
    Kernel kernel;
    std::string directory;
    bool dead = false;
  };
  std::string fresh_directory();
  void end(std::unique_ptr<Run> run);
  void copy_state(const std::string& to);  // in no time
  Result<std::unique_ptr<Replica>> open();

  World& world_;
  const unsigned number_;
  const std::string name_;
  MachineClock clock_;
  VolumeSecrets secrets_;
  std::shared_ptr<DeviceIdentity> identity_;
  SyncOptions options_;
  unsigned directories_ = 0;  // made so far
  std::string directory_;
  bool online_ = true;
  std::string hidden_;
  struct Backup {
    std::string directory;
    Nanos when{0};
  };
  std::optional<Backup> backup_;
  std::unique_ptr<Run> run_;
};

}  // namespace coffer::sim
