// Reading a journal back after a crash, and cutting off what did not survive. Internal to this layer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "cache/journal.h"
#include "cache/journal_file.h"

namespace coffer {

struct JournalReplay {
  Lsn last = 0;                                 // of the entries that remain, or `after` if that is greater
  std::vector<Lsn> files;                       // that remain, ascending
  std::vector<std::shared_ptr<const Fd>> open;  // those of them whose bytes may be with the kernel only
};

// Journal::replay on a directory that nobody writes.
Result<JournalReplay> replay_journal(const std::string& dir, const VolumeId& volume, const LocalKeys& keys, Lsn after,
                                     const Journal::Entry& entry);
// Journal::peek.
Result<void> peek_journal(const std::string& dir, const VolumeId& volume, const LocalKeys& keys, Lsn after,
                          const Journal::Entry& entry);

}  // namespace coffer
