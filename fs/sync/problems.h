// What is wrong now, as sentences for a person. A problem is set under a key, and cleared under it when it has passed.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "fs/sync/synchronizer.h"

namespace coffer {

// Thread-safe. Borrows the clock.
class Problems {
 public:
  explicit Problems(const Clock& clock) : clock_(clock) {}

  // A problem that is there already keeps the time at which it came.
  void set(const std::string& key, std::string what, std::string todo);
  void clear(const std::string& key);
  std::vector<Problem> list() const;

  static constexpr size_t kMost = 100;  // further ones are counted in the last

 private:
  const Clock& clock_;
  mutable Mutex mutex_{Rank::kLeaf};
  std::map<std::string, Problem> problems_ GUARDED_BY(mutex_);
};

// What to do about an error of a store.
std::string store_advice(const Error& error);
// What to do about an error of the local disk.
std::string disk_advice(Code code);

}  // namespace coffer
