// Random operations on a machine, from few names so that they meet.
#pragma once

#include <random>

#include "tests/model/machine.h"

namespace coffer::model {

class RandomOps {
 public:
  explicit RandomOps(uint64_t seed) : random_(seed) {}
  uint64_t below(uint64_t n) { return random_() % n; }
  bool chance(unsigned percent) { return below(100) < percent; }
  // One operation, which may fail as it would on any file system.
  void step(Machine& m);

 private:
  struct Found {
    Ino ino;
    FileType type;
    Ino dir;
    std::string name;
  };
  std::vector<Found> walk(const Machine& m) const;
  std::string name();
  uint64_t offset();
  std::mt19937_64 random_;
};

}  // namespace coffer::model
