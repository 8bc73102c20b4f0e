// Records that are known to exist and are not applied: what says so, what has been fetched of them, and why they wait.
//
// What is announced and not there (a hint, a quoted head or a number in between says it exists) is asked for again, ever
// more seldom; it is told as not here yet, and becomes a problem after a while. What is there and does not verify holds back
// its log, and what quotes it, and is a problem at once; it is tried again, too, since it may be repaired. So does what is
// sealed with keys that are not here yet. Everything else goes on.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <utility>
#include <vector>

#include "fs/sync/context.h"
#include "fs/sync/key_watch.h"
#include "fs/sync/log_verifier.h"
#include "fs/sync/pace.h"

namespace coffer {

// Whether an error says something about a record, as opposed to this machine or the network.
bool blames_record(Code code);
// The problem that news cannot be kept on this machine.
inline constexpr char kApplyProblem[] = "disk apply";

// Belongs to the news thread. Borrows what it is given.
class AwaitedLogs {
 public:
  using Names = std::vector<std::pair<RecordName, uint64_t>>;  // with their sizes, as listed; 0: not known
  struct Fetched {
    RecordName name;
    OpenedRecord opened;
    Bytes object;
    bool verified = false;
  };

  AwaitedLogs(SyncContext& context, KeyWatch& key_watch);

  // A poll begins: what was refused is looked at again when it is due, or now if `again`.
  void begin_poll(bool listing_all, bool again);
  // A name that is listed; size 0: it is only hinted at.
  void note(const RecordName& name, uint64_t size);
  // What the device that let this one in knew is announced by that: a store cannot withhold it in silence.
  Result<void> expect_handed_over();

  // What to fetch now.
  Names choose() const;
  void took(const RecordName& name, Result<Bytes> object);
  // Lists the logs in which a record is missing that must be there. True when something new was found.
  Result<bool> list_gaps(std::set<LogId>& listed, const std::stop_token& stop);
  // Of the records that may be applied on top of `tails` the one that sorts first; nullptr: there is none. It stays where it
  // is until it is applied, or refused.
  Fetched* first_ready(const TailView& tails);
  // While more records of a log are still to be fetched, those of others wait that sort after them: otherwise they would
  // be applied only to be rolled back.
  std::optional<uint64_t> horizon(const TailView& tails) const;
  const Fetched& fetched(const LogId& id, uint64_t number) const { return logs_.at(id).fetched.at(number); }
  void applied(const LogId& id, uint64_t number);
  void refuse(const LogId& id, uint64_t number, Error error);
  // Tells what waits, and forgets what does not. Whether records are known to be there that could not be applied.
  bool settle();

 private:
  struct Candidate {
    uint64_t size = 0;           // as listed; 0: not known
    std::optional<Error> error;  // it was fetched, and is nothing
    std::optional<Epoch> epoch;  // it was fetched, and waits for the keys of this epoch
  };
  struct Log {
    std::map<uint64_t, std::map<uint64_t, Candidate>> known;  // by number, by tag; beyond what is applied
    std::map<uint64_t, Fetched> fetched;                      // waiting to be applied
    uint64_t announced = 0;                                   // some record says that this number exists
    std::optional<Error> held;                                // why its next record is refused
    uint64_t missing = 0;                                     // the number that is announced and not there
    Nanos missing_since{0};
    Nanos retry_at{0};
    Backoff backoff{std::chrono::seconds(1), std::chrono::minutes(5)};
    uint64_t noted = 0;                 // the poll that last listed something of it
    bool told = false;                  // a problem is set, or that something is not here yet
    std::optional<Nanos> locked_since;  // the next record waits for keys
  };

  uint64_t applied_number(const LogId& id) const;
  bool usable(const Candidate& candidate) const;
  bool pauses(const Log& log) const;
  bool believed(const LogId& id, const Log& log) const;
  Fetched* ready(const LogId& id, Log& log, const TailView& tails);
  void still_missing(const LogId& id, Log& log, uint64_t number);
  void wait_for_keys(const LogId& id, Log& log, uint64_t number);
  void tell_late(const LogId& id, Log& log, const std::string& what);
  void settle(const LogId& id, Log& log);
  std::string describe(const LogId& id, uint64_t number) const;

  SyncContext& c_;
  KeyWatch& key_watch_;
  std::map<LogId, Log> logs_;
  std::vector<KnownHead> handed_over_;  // what has not come yet of it
  uint64_t polls_ = 0;
  bool listing_all_ = false;  // this poll
};

}  // namespace coffer
