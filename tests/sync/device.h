// A machine with a replica and a synchronizer, on a store that tests share between several.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "fs/replica/replica.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/synchronizer.h"
#include "remote/fault_store.h"
#include "remote/memory_store.h"
#include "remote/metered_store.h"
#include "tests/sync/fixture.h"

namespace coffer::test {

SyncOptions quick_options();

// The machine's time, and what a test adds to the date.
class ShiftedClock : public Clock {
 public:
  WallTime wall() const override { return {Clock::system().wall().ns + shift_.load()}; }
  Nanos monotonic() const override { return Clock::system().monotonic(); }
  void advance(Nanos by) { shift_ += by.count(); }

 private:
  std::atomic<int64_t> shift_{0};
};

// A volume without Argon2id: only its secrets.
struct TestVolume {
  TestVolume();
  VolumeSecrets secrets() const;

  VolumeId id;
  Secret key;
  SigningKey signing;
};

class Device {
 public:
  Device(const TestVolume& volume, std::shared_ptr<ObjectStore> store, std::string name,
         SyncOptions options = quick_options(), const SpaceLimits& limits = {});
  ~Device();

  // Opens the replica and starts synchronizing; a new device loads what is in the store, and makes the root of an empty
  // volume.
  void start();
  // start() without waiting for what is in the store.
  void open();
  void stop(bool close_log = true);
  // Ends as after SIGKILL: nothing is closed in order. (The replica's destructor still flushes.)
  void restart() {
    stop(false);
    start();
  }
  // The same state directory on another machine.
  void copy_state_from(const Device& other);

  // Somebody else than the one that joined when this was made; before start().
  void become(DeviceIdentity identity) { identity_ = std::make_shared<DeviceIdentity>(std::move(identity)); }

  Result<void> sync();
  void must_sync() {
    auto r = sync();
    ASSERT_TRUE(r.has_value()) << name_ << ": " << r.error().what();
  }

  // Paths have components joined by '/', from the root.
  Result<model::Ino> find(const std::string& path);
  void mkdir(const std::string& path);
  void write(const std::string& path, BytesView content, uint64_t offset = 0);
  void remove(const std::string& path);
  Result<Bytes> read(const std::string& path);  // fetches what is missing
  // Every path, with the hash of the contents of files.
  std::map<std::string, std::string> tree();

  std::string problems() const;
  std::vector<LogTail> logs();  // as far as they are applied
  const std::string& dir() const { return dir_.path(); }
  Replica& replica() { return *replica_; }
  Synchronizer& sync_engine() { return *sync_; }
  FaultStore& faults() { return *faults_; }
  StoreCounters counters() const { return metered_->counters(); }
  const DeviceIdentity& identity() const { return *identity_; }

 private:
  const TestVolume& volume_;
  const std::string name_;
  const SyncOptions options_;
  const SpaceLimits limits_;
  TempDir dir_;
  std::shared_ptr<MeteredStore> metered_;
  std::shared_ptr<FaultStore> faults_;
  VolumeSecrets secrets_;
  std::shared_ptr<DeviceIdentity> identity_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Synchronizer> sync_;
};

// Faults of all kinds.
FaultRates unreliable();

// Devices of one volume on one store in memory.
class DevicesTest : public ::testing::Test {
 protected:
  ~DevicesTest() override { arm_failpoints(""); }

  std::unique_ptr<Device> device(const std::string& name, SyncOptions options = quick_options(),
                                 const SpaceLimits& limits = {});
  std::vector<std::string> keys(const std::string& prefix) const;
  static void wait_until(const std::function<bool()>& condition);
  // Until nobody has anything new for anybody.
  static void settle(const std::vector<Device*>& devices);
  static void expect_equal(const std::vector<Device*>& devices);

  // Before the volume's keys are made.
  const bool started_ = crypto_init().has_value();
  TestVolume volume_;
  std::shared_ptr<MemoryStore> memory_ = std::make_shared<MemoryStore>();
};

}  // namespace coffer::test
