// Puts old records together into archives (record_archive.h), and deletes the objects that they were, so that a volume's logs
// do not grow into millions of small objects.
//
// A record is put into one when it is applied here, and everything that was known a moment ago is below the stable line: so
// all that are waited for have it, and hardly anybody will read it any more. (What came since may be among them: it is the
// same there.) Its own object goes when the archive was seen in the store so long ago (CollectOptions::grace), and at every
// look since, and all of it has been read once more and is what is applied here. Nothing rests on who does it, nor on when:
// the records are the same ones, in another place. Two devices that do it at once make two archives of the same records.
#pragma once

#include <span>
#include <stop_token>
#include <vector>

#include "fs/sync/collection.h"
#include "fs/sync/context.h"

namespace coffer {

// Used by one thread, once.
class Archiver {
 public:
  Archiver(SyncContext& context, const CollectOptions& options, const std::stop_token& stop)
      : c_(context), options_(options), stop_(stop) {}

  // After the collector's moment. Adds up what was done.
  Result<void> run(Collection& sums);

 private:
  struct Candidate {
    RecordName name;
    uint64_t size = 0, stamp = 0;
    Hash hash;
  };
  using Listing = ArchivedLogs::Listing;

  Result<void> archive(const Listing& listing, Collection& sums);
  Result<std::vector<Candidate>> find_candidates(const Listing& listing) const;
  Result<void> write(std::span<const Candidate> candidates, Collection& sums);
  Result<void> remove_objects(const Listing& listing, Collection& sums);
  Result<std::vector<RecordName>> find_safe(const ArchivedLogs::Archive& archive, std::vector<RecordName> objects);
  Result<void> remove(std::span<const RecordName> names);
  Result<bool> is_applied(const RecordName& name, BytesView object) const;

  SyncContext& c_;
  const CollectOptions& options_;
  const std::stop_token& stop_;
};

}  // namespace coffer
