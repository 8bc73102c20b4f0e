// Plays the kernel and the programs of one machine: random system calls, as fs/fuse would hand them to the replica.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "fs/fuse/nodes.h"
#include "fs/replica/replica.h"
#include "fs/sync/synchronizer.h"
#include "tests/sim/world.h"

namespace coffer::sim {

using model::Ino;

class Kernel {
 public:
  // Borrows all. `machine` is a number for the account of versions.
  Kernel(World& world, Replica& replica, Synchronizer& sync, unsigned machine, std::string name);

  // One random system call, or the few of a program that saves a file.
  void step(Random& random);
  // The machine's process is dead: what a system call that is under way does counts no more.
  void die() { dead_ = true; }
  // What is open is closed.
  void unmount();

  // Every name with all that programs see of it, and in `live` what files contain. Ends the run when anything cannot be read.
  std::string tree(std::set<Hash>* live);

 private:
  struct Place {
    Ino dir = 0;
    std::string name;
    Ino ino = 0;  // 0: nothing there
    model::FileType type = model::FileType::kRegular;
  };
  using NodeId = fuse::NodeId;

  // --- what the kernel does
  NodeId look_up(Ino ino);  // and counts it
  void forget(NodeId id);
  Result<Ino> writable(NodeId id);
  void unlinked(const model::Unlinked& what);
  Bytes contents(Ino ino);  // the news gate is held
  void bring_here(const std::vector<Missing>& missing);
  // The news gate and the file's lock are held by `change`, which gets the contents and returns the new ones.
  template <typename Change>
  Result<void> change_contents(NodeId id, const char* what, const Change& change);

  // --- programs
  Place somewhere(Random& random, bool existing);
  std::string some_name(Random& random);
  Bytes some_bytes(Random& random, size_t most);
  Result<NodeId> make(const Place& place, const model::NewInode& what);
  void create(Random& random);
  void save(Random& random);
  void write(Random& random, NodeId id);
  void cut(Random& random, NodeId id);
  void fsync(NodeId id, const std::string& name);
  void read(Random& random, NodeId id);
  void copy(Random& random, NodeId id);
  void move(Random& random);
  void remove(Random& random);
  void describe_file(Random& random, NodeId id);
  Result<NodeId> open_somewhere(Random& random, std::string& name);
  void close(Random& random, NodeId id);
  Result<void> remove_name(const Place& place);
  Result<void> rename(const Place& from, const Place& to, model::RenameMode mode);
  void told(const std::string& what, const Result<void>& outcome);

  World& world_;
  Replica& replica_;
  Synchronizer& sync_;
  const unsigned machine_;
  const std::string name_;
  fuse::Nodes nodes_;
  std::mutex file_lock_;   // the kernel's, here one for all files and directories
  std::set<Ino> keepers_;  // what news made for who has a file open
  std::set<Ino> removed_;  // by this machine, with the last name
  std::vector<std::pair<NodeId, std::string>> open_;
  bool dead_ = false;
};

}  // namespace coffer::sim
