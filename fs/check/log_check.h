// Verifies every record of every log: that it opens in its place, whose it is, that it follows what it says, that it does not
// backdate, that what it carries is what it names. What holds is applied to a scratch replica, which then has the state that a
// new device would come to.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "fs/check/check_context.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/log_verifier.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/record_order.h"

namespace coffer {

// Belongs to one thread. `scratch` is new, without a root.
class LogCheck {
 public:
  LogCheck(CheckContext& context, Replica& scratch);

  // `base`: the checkpoint to begin with, if there is one.
  Result<void> run(std::unique_ptr<LoadedCheckpoint> base);

  // Objects of records that are whole, whether or not they could be applied.
  const std::set<std::string>& good() const { return good_; }
  const LogTails& tails() const { return tails_; }
  uint64_t records() const { return good_.size(); }
  bool all_applied() const { return all_applied_; }  // of what the store lists
  // Files that records would change that wait for one that is damaged or missing, by the object of that one.
  const std::map<std::string, std::set<std::string>>& held_back() const { return held_back_; }

 private:
  struct Next {  // the record of a log that comes next
    RecordName name;
    OpenedRecord opened;
    std::optional<Awaited> awaits;  // found by the last look
    bool ready = false;             // so is this
  };
  struct Log {
    std::map<uint64_t, std::vector<std::pair<RecordName, uint64_t>>> listed;  // by number, with sizes
    std::set<RecordName> hinted;
    std::optional<Next> next;
    bool held = false;    // its next record is damaged, and that is reported
    std::string held_by;  // the key of that record
  };

  Result<void> check_below(const LogId& id, Log& log, const LogTail& tail);
  Result<void> prepare(const LogId& id, Log& log);
  Result<bool> look(const LogId& id, Log& log);
  Result<void> apply(Log& log);
  Result<void> replay();
  Result<std::optional<OrderedRecord>> read_again(const RecordPlace& place);
  Result<void> explain(const LogId& id, Log& log);
  Result<std::optional<OpenedRecord>> open(const RecordName& name, uint64_t size, const std::string& meaning);
  Result<bool> there_now(const Awaited& record);
  Result<void> check_carried(const OpenedRecord& opened, BytesView object) const;
  void hold(Log& log, const std::string& key);
  void note_changes(const std::string& held_by, const OpenedRecord& opened);
  std::string describe(const LogId& id, uint64_t number) const;

  CheckContext& c_;
  Replica& scratch_;
  LogTails tails_;
  std::map<LogId, Log> logs_;
  bool all_applied_ = true;
  bool late_ = false;  // a record came that sorts below the base, or was written without knowing it
  std::set<std::string> good_;
  std::map<std::string, std::set<std::string>> held_back_;
};

}  // namespace coffer
