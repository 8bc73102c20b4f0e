// A store that fails as real ones do, on purpose and repeatably.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "base/mutex.h"
#include "remote/object_store.h"
#include "remote/transfer_meter.h"

namespace coffer {

// What happens to one operation. Fields combine; the default is that nothing does.
struct Fault {
  std::optional<Code> fail_before = {};  // the operation does not reach the store
  std::optional<Code> fail_after = {};   // it does, and the answer is lost
  Nanos delay{0};                        // before anything else
  bool hang = false;                     // until `stop` is requested
  bool twice = false;                    // the request arrives a second time (put and remove)
  // The effect (put, remove) is not visible to get and list for so many operations on the FaultStore; a late put
  // arrives after later ones on the same key, as in a store that is eventually consistent.
  unsigned hide_for = 0;
};

// One call as the hook sees it: `index` counts the calls of this FaultStore from 0.
struct FaultCall {
  StoreOperation operation;
  const std::string& key;  // or the prefix
  uint64_t index;
};

// How often faults happen, in parts of a thousand, for FaultStore::random.
struct FaultRates {
  unsigned fail_before = 0, fail_after = 0, twice = 0, hide = 0;
  unsigned hide_for_at_most = 20;
  unsigned delay = 0;
  Nanos delay_at_most{0};
};

// A decorator for tests. Thread-safe; the hook is called without a lock held, from the caller's thread. Shares the
// inner store, so that several FaultStores can play several machines on one MemoryStore.
class FaultStore : public ObjectStore {
 public:
  using Hook = std::function<Fault(const FaultCall&)>;

  FaultStore(std::shared_ptr<ObjectStore> inner, Hook hook);
  // Faults drawn from `seed`: the same calls in the same order meet the same faults.
  static Hook random(uint64_t seed, FaultRates rates);

  void set_hook(Hook hook);  // nullptr: no more faults
  // Applies everything hidden now, oldest first.
  Result<void> settle();

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override;
  std::string describe() const override { return inner_->describe() + " with faults"; }

 private:
  struct Hidden {
    uint64_t due;  // call index at which it becomes visible
    std::string key;
    std::optional<Bytes> data;  // none: a removal
  };

  // Draws the fault, plays its delay and hang, applies what is due, and fails when it fails before.
  Result<Fault> enter(StoreOperation operation, const std::string& key, const std::stop_token& stop);
  Result<void> apply(Hidden hidden);
  Result<void> change(Fault fault, const std::string& key, std::optional<Bytes> data, const std::stop_token& stop);

  const std::shared_ptr<ObjectStore> inner_;
  Mutex mutex_{Rank::kRemote};
  std::shared_ptr<const Hook> hook_ GUARDED_BY(mutex_);
  uint64_t calls_ GUARDED_BY(mutex_) = 0;
  std::multimap<uint64_t, Hidden> hidden_ GUARDED_BY(mutex_);  // by due
};

}  // namespace coffer
