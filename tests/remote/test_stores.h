// The stores that the contract suite runs on.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "remote/object_store.h"
#include "remote/open_store.h"

namespace coffer {

// One way to make a store. Each call of `make` gives a fresh, empty one.
struct Backend {
  struct Made {
    std::unique_ptr<ObjectStore> store;
    // Puts bytes under any name, a valid key or not, as another program would. False when the server refuses the name.
    std::function<bool(const std::string& name, BytesView data)> plant;
    std::shared_ptr<void> keeps;  // what must outlive the store
  };
  std::string name;
  size_t many = 0;  // objects that it can take in reasonable time
  // What whoever reads a name meets while it is replaced: the old object or the new, or sometimes none (servers that
  // unlink first), or a mixture that no client can tell (Apache and rclone, which send the new bytes cut to the old
  // length).
  enum class Overwrite { kAtomic, kGaps, kTorn } overwrite = Overwrite::kAtomic;
  std::function<Made()> make;
};

inline void PrintTo(const Backend& backend, std::ostream* out) { *out << backend.name; }

// In memory, in a directory, and what the environment variable COFFER_TEST_STORES describes: lines as the scripts in
// tests/servers print them, each begun with name=NAME.
std::vector<Backend> test_backends();

// For a server described by such a line: its configuration, with the credentials put where coffer looks for them.
StoreConfig server_config(const std::string& line);
std::string random_name();

}  // namespace coffer
