// Records what a process does to the files below one directory, call by call, by standing in front of libc's functions
// (liblmdb's calls included), and makes from the record what a disk could hold after a power loss at any point.
//
// The disk of the model: what a file's last sync covered is there. Of the writes after it any subset is there, and each of
// those as a whole or torn at 512 byte sectors. Names (creations, renames, removals) are kept by a journal: those up to the
// last one that a sync pinned, and any number of those after, in order. A write through O_DSYNC pins itself.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace coffer::testing {

struct TraceEvent {
  enum class Kind { kCreate, kRename, kUnlink, kMkdir, kWrite, kTruncate, kSync, kSyncDirectory, kMark };
  Kind kind{};
  uint64_t file = 0;     // number of the file (kCreate gives it its name)
  std::string path, to;  // of name events, relative to the directory
  uint64_t offset = 0;   // kTruncate: the size; kMark: the caller's number
  std::string data;      // kWrite
  bool pinned = false;   // O_DSYNC
};

// Starts recording everything below `directory` (absolute). One recording at a time in a process.
void start_trace(const std::string& directory);
// Puts the caller's own event between the others.
void mark(uint64_t number);
std::vector<TraceEvent> stop_trace();

std::string describe(const TraceEvent& event);

// Writes to `directory` (made, empty) what the disk could hold had the power failed right after the first `count` events.
void make_crash_image(const std::vector<TraceEvent>& events, size_t count, std::mt19937_64& rng,
                      const std::string& directory);

}  // namespace coffer::testing
