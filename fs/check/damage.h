// What `coffer check` found, and words for it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace coffer {

// What is wrong with a thing.
enum class Trouble {
  kMissing,    // something that holds says that it exists
  kCutOff,     // shorter than it has to be
  kDamaged,    // it does not open, or is not what was signed: changed, or never coffer's
  kExchanged,  // another of the volume's objects lies in its place
  kForged,     // it opens, and no member can have made it so
  kForeign,    // its name is none that coffer gives
  kStale,      // a hint of what is not there; harmless
  kUnneeded,   // nothing refers to it; harmless
  kTooNew,     // a later coffer wrote it
};

struct Damage {
  Trouble trouble = Trouble::kDamaged;
  std::string
      thing;  // "head", "slot", "removal", "record", "archive", "checkpoint", "segment", "pack", "hint", "object", "replica"
  std::string object;              // its key in the store, or its file in the state directory
  std::string what;                // a sentence without its period: what it is and what is wrong
  std::string todo;                // sentences: what it means, and what can be done
  std::vector<std::string> paths;  // of files that need it, at most kPathsTold
  uint64_t more_paths = 0;
  std::string hint = {};      // of a checkpoint or a segment of one: what names the checkpoint
  std::string repaired = {};  // what was done about it; empty: nothing

  // Whether anything is lost, or can be. What is not is told, and is no fault.
  bool is_fault() const {
    return trouble != Trouble::kForeign && trouble != Trouble::kStale && trouble != Trouble::kUnneeded;
  }
};

inline constexpr size_t kPathsTold = 20;

std::string_view to_string(Trouble trouble);

}  // namespace coffer
