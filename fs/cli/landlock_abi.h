// The kernel's Landlock interface. Debian 12's linux/landlock.h ends at the second of the versions that kernels have.
#pragma once

#include <cstdint>

namespace coffer::cli::landlock {

inline constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;  // system calls, on every architecture
inline constexpr unsigned kVersion = 1;                                           // a flag of kCreateRuleset
inline constexpr int kRulePathBeneath = 1;

struct RulesetAttributes {
  uint64_t files;    // rights that are refused unless a rule gives them
  uint64_t network;  // since version 4
  uint64_t scopes;   // since version 6: what does not reach processes outside
};
struct __attribute__((packed)) PathBeneath {
  uint64_t allowed;
  int32_t parent;
};

inline constexpr uint64_t kExecute = 1 << 0, kWriteFile = 1 << 1, kReadFile = 1 << 2, kReadDirectory = 1 << 3,
                          kMakeCharacterDevice = 1 << 6, kMakeBlockDevice = 1 << 11, kRefer = 1 << 13,
                          kTruncate = 1 << 14, kDeviceIoctl = 1 << 15;
inline constexpr uint64_t kBindTcp = 1 << 0;
inline constexpr uint64_t kAbstractSockets = 1 << 0, kSignals = 1 << 1;

// All rights on files that a version of the interface knows.
constexpr uint64_t files_of(int version) {
  uint64_t all = (1 << 13) - 1;
  if (version >= 2) all |= kRefer;
  if (version >= 3) all |= kTruncate;
  if (version >= 5) all |= kDeviceIoctl;
  return all;
}

inline constexpr uint64_t kRead = kReadFile | kReadDirectory;
// Everything but running programs and making devices.
inline constexpr uint64_t kWrite =
    files_of(5) & ~(kRead | kExecute | kMakeCharacterDevice | kMakeBlockDevice | kDeviceIoctl);
// What can be said of a file that is no directory.
inline constexpr uint64_t kOfFiles = kExecute | kWriteFile | kReadFile | kTruncate | kDeviceIoctl;

}  // namespace coffer::cli::landlock
