// One store that all simulated machines share, which keeps the promises of ObjectStore as badly as real ones do.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "remote/object_store.h"
#include "tests/sim/scheduler.h"

namespace coffer::sim {

// Rates are in parts of a thousand.
struct StoreHabits {
  Nanos usual_delay = std::chrono::milliseconds(40);
  unsigned slow = 0;                         // requests that take up to a minute
  unsigned fail_before = 0, fail_after = 0;  // without effect; with effect, and the answer is lost
  unsigned again = 0;                        // a change reaches the store a second time, up to a minute later
  unsigned late_list = 0, late_get = 0;      // a put that others are shown only up to `late_at_most` afterwards
  Nanos late_at_most = std::chrono::minutes(3);
};

// What is really there. remote's FaultStore counts in calls and hides a change from everybody at once; here time is
// simulated, each machine has a view of its own, and a listing may be later than the object.
class SharedStore {
 public:
  SharedStore(uint64_t seed, StoreHabits habits) : random_(seed), habits_(habits) {}

  void be_good();  // from now on: everything is shown, nothing fails
  // What a store that hides nothing would answer; of a record, also when an archive has it.
  std::shared_ptr<const Bytes> find(const std::string& key);
  std::vector<std::string> keys(const std::string& prefix);

 private:
  friend class Connection;
  struct Object {
    std::shared_ptr<const Bytes> data;
    Nanos put{0};
    Nanos list_lag{0}, get_lag{0};  // at most; of which each machine meets a part
  };
  struct Again {
    std::string key;
    std::shared_ptr<const Bytes> data;  // null: a removal
  };
  void change(const std::string& key, std::shared_ptr<const Bytes> data);
  void play_again();  // what is due
  bool shown(const Object& object, const std::string& key, uint64_t viewer, bool list) const;

  Random random_;
  StoreHabits habits_;
  std::map<std::string, Object> objects_;
  std::multimap<Nanos, Again> again_;
};

// The store as one run of one machine reaches it.
class Connection : public ObjectStore {
 public:
  Connection(std::shared_ptr<SharedStore> shared, uint64_t viewer) : shared_(std::move(shared)), viewer_(viewer) {}

  void set_online(bool online) { online_ = online; }
  void cut() { cut_ = true; }                                     // for good: this machine's process is dead
  void hide(std::string prefix) { hidden_ = std::move(prefix); }  // objects that are not shown here

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop) override;
  Result<void> remove(const std::string& key, std::stop_token stop) override;
  std::string describe() const override { return "the simulated store"; }

 private:
  // One request: it takes its time, and `effect` happens in it unless it fails before.
  template <typename T, typename Effect>
  Result<T> request(const char* what, const std::string& key, const std::stop_token& stop, const Effect& effect);
  Result<void> change(const char* what, const std::string& key, std::shared_ptr<const Bytes> data,
                      const std::stop_token& stop);
  Result<std::shared_ptr<const Bytes>> read(const std::string& key, const std::stop_token& stop);

  const std::shared_ptr<SharedStore> shared_;
  const uint64_t viewer_;
  bool online_ = true, cut_ = false;
  std::string hidden_;
};

}  // namespace coffer::sim
