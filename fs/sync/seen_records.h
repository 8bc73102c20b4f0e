// What has been applied here has to stay in the store: notices records that have gone from it or were changed there, and puts
// back those that this device still has (kept_records.h), under their old names; so it does not matter how many devices do it.
//
// A listing of all of log/ (at start, and every hour) has to show every record. A listing of hints, with every other poll, has
// to show none of an older record only than the newest that is applied: if it does, that log is listed, at once the first time.
// A listing may be late, so what is kept here is first asked for by its name. What is not kept here, or was new a moment ago,
// so that it may be late itself, is told as not here yet, and as vanished when it stays away; the log is listed again
// meanwhile, ever more seldom.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "fs/sync/context.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/pace.h"

namespace coffer {

// Belongs to the news thread. Borrows the context.
class SeenRecords {
 public:
  explicit SeenRecords(SyncContext& context) : c_(context) {}

  // The records that the store has to have, as the ends of their logs.
  std::vector<LogTail> expected() const;
  // `found`: all of log/, listed after `expected` was asked for.
  void compare(const std::vector<LogTail>& expected, const std::vector<ObjectInfo>& found);
  // The greatest number of each log of which head/ has a hint.
  void compare_hints(const std::map<LogId, uint64_t>& newest);
  // Something speaks for it that this log's records are not there any more.
  void doubt(const LogId& log);
  // Looks at what is due. True: something had gone, for sure.
  bool look(const std::stop_token& stop);

 private:
  using Listed = std::vector<std::pair<RecordName, uint64_t>>;  // with their sizes
  struct Log {
    std::set<uint64_t> gone;  // as listed last, without those that are there all the same
    bool listed = false;      // since it was looked at last
    Nanos since{0}, look_at{0};
    Backoff backoff{std::chrono::seconds(1), std::chrono::minutes(5)};
  };
  struct Doubt {
    Nanos not_before{0};
    Backoff backoff{std::chrono::minutes(1), std::chrono::hours(1)};
  };
  struct PutBack {
    std::set<uint64_t> numbers;
    uint64_t listing = 0;  // of everything, when the last one was
  };

  void compare(const LogTail& expected, const Listed& listed);
  std::set<uint64_t> find_gone(const LogTail& expected, const Listed& listed) const;
  bool may_be_late(const KeptRecord& kept) const;
  bool ask(const LogId& id, Log& log, size_t& requests, const std::stop_token& stop);
  void tell(const LogId& id, const Log& log);
  void tell_put_back(const LogId& id, uint64_t number);
  void forget(const LogId& id);
  std::string name_them(const LogId& id, const std::set<uint64_t>& numbers) const;

  SyncContext& c_;
  std::map<LogId, Log> logs_;  // of which something seems to have gone
  std::map<LogId, Doubt> doubts_;
  std::map<LogId, PutBack> put_back_;
  uint64_t listings_ = 0;
};

}  // namespace coffer
