// coffer check: verifies a volume in its store and this device's copy of it, repairs, and brings files back from ruins.
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>

#include "fs/check/rebuild.h"
#include "fs/check/replica_check.h"
#include "fs/check/store_check.h"
#include "fs/check/store_repair.h"
#include "fs/cli/check_progress.h"
#include "fs/cli/commands.h"
#include "fs/cli/file_mode.h"
#include "fs/cli/format.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/mount_table.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/progress.h"
#include "fs/cli/rebuild_writer.h"
#include "fs/cli/scratch_directory.h"
#include "fs/cli/terminal.h"
#include "fs/sync/object_keys.h"
#include "remote/stoppable_store.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

// STORE, NAME, or a directory where the volume is mounted.
Outcome<Target> target_of(Arguments arguments) {
  auto path = resolve_path(arguments.operands[0]);
  if (path) {
    TRY(auto mounts, read_mounts());
    const MountEntry* mount = find_coffer_mount(mounts, *path);
    if (mount != nullptr && mount->mount_point == *path) arguments.operands[0] = mount->source;
  }
  return resolve_target(arguments);
}

// The volume with its keys, opened with what the store has or, where that is damaged, with what this device remembers.
struct Subject {
  VolumeSecrets secrets;
  Remembered remembered;
};

Outcome<Subject> unlock_subject(const Target& target, ObjectStore& store) {
  auto head = find_volume(store);
  if (!head && head.error().exit != Exit::kNotAVolume) return give_up(head.error());
  std::optional<VolumeId> volume = head ? std::optional(head->volume) : std::nullopt;
  if (!volume) volume = remembered_volume(target.state_root, target.canonical);
  Subject subject;
  if (volume && VolumeDirectory::exists(target.state_root, *volume)) {
    TRY(auto kept, kept_slots(target.state_root, *volume));
    if (kept) {
      subject.remembered.head = kept->head;
      subject.remembered.slots = std::move(kept->slots);
    }
  }
  if (!head && !subject.remembered.head) return give_up(head.error());
  const VolumeHead& used = subject.remembered.head ? *subject.remembered.head : *head;
  auto slots = find_slots(store);
  if (!slots && slots.error().exit != Exit::kDamaged) return give_up(slots.error());
  std::vector<Bytes> objects = slots ? std::move(*slots) : std::vector<Bytes>();
  objects = join_slots(used, objects, subject.remembered.slots);
  if (objects.empty())
    return give_up(slots ? Failure(Exit::kDamaged, "no key slot of the volume is whole") : slots.error());
  TRY(Opener opener, Opener::get(target.settings));
  TRY(OpenedVolume opened, opener.open(used, objects));
  subject.secrets = std::move(opened.secrets);
  return subject;
}

Replica::Keys replica_keys(const VolumeSecrets& secrets, std::unique_ptr<LocalKeys> local) {
  return {secrets.volume, std::make_unique<KeyRing>(secrets.epoch_keys), std::move(local)};
}

// This device's copy, for as long as the check runs.
class LocalCopy {
 public:
  // What can be said against looking at it goes to `note`, or is a damage.
  static Outcome<std::unique_ptr<LocalCopy>> open(const Target& target, const VolumeSecrets& secrets,
                                                  std::vector<Damage>& damages, std::string& note) {
    std::unique_ptr<LocalCopy> copy(new LocalCopy());
    if (!VolumeDirectory::exists(target.state_root, secrets.volume)) {
      note = "this device has no copy of the volume";
      return std::unique_ptr<LocalCopy>();
    }
    auto directory = VolumeDirectory::open(target.state_root, secrets.volume);
    if (!directory && directory.error().exit == Exit::kBusy) {
      note = "this device's copy was not looked at: " + directory.error().what;
      return std::unique_ptr<LocalCopy>();
    }
    if (!directory) return give_up(directory.error());
    copy->directory_.emplace(std::move(*directory));
    TRY(auto identity, copy->directory_->identity());
    if (!identity) {
      note = "this device has no copy of the volume";
      return std::unique_ptr<LocalCopy>();
    }
    auto local = std::make_unique<LocalKeys>(secrets.epoch_keys.begin()->second, copy->directory_->salt());
    auto opened_identity = open_identity(*identity, secrets.volume, *local);
    if (!opened_identity) {
      damages.push_back(unreadable_replica(copy->directory_->path() + "/identity", opened_identity.error()));
      return std::unique_ptr<LocalCopy>();
    }
    copy->device_ = opened_identity->device;
    Replica::Options options;
    options.device_name = opened_identity->name;
    auto replica = Replica::open(copy->path(), replica_keys(secrets, std::move(local)), options);
    if (!replica && replica.error().code() == Code::kCorrupt) {
      damages.push_back(unreadable_replica(copy->path(), replica.error()));
      return std::unique_ptr<LocalCopy>();
    }
    if (!replica) return give_up(Failure(replica.error()).in(copy->path()));
    copy->replica_ = std::move(*replica);
    return copy;
  }

  Replica& replica() { return *replica_; }
  std::string path() const { return directory_->replica_path(); }
  const DeviceId& device() const { return device_; }

 private:
  LocalCopy() = default;
  std::optional<VolumeDirectory> directory_;  // its lock is held longest
  DeviceId device_;
  std::unique_ptr<Replica> replica_;
};

json damage_json(const Damage& d) {
  return {{"trouble", to_string(d.trouble)},
          {"thing", d.thing},
          {"object", d.object},
          {"what", d.what},
          {"todo", d.todo},
          {"fault", d.is_fault()},
          {"files", d.paths},
          {"more_files", d.more_paths},
          {"repaired", d.repaired}};
}

void print_damage(const Damage& d) {
  std::printf("%s %s: %s\n",
              !d.is_fault()        ? "note"
              : d.repaired.empty() ? "FAULT"
                                   : "repaired",
              shown_name(d.object).c_str(), shown_name(d.what).c_str());
  for (const std::string& path : d.paths) std::printf("      file %s\n", shown_name(path).c_str());
  if (d.more_paths > 0) std::printf("      and %s\n", format_count(d.more_paths, "more file", "more files").c_str());
  const std::string& advice = d.repaired.empty() ? d.todo : d.repaired;
  if (!advice.empty()) std::printf("      %s\n", advice.c_str());
}

// Of which keys everything that lives is.
void print_keys(const OldKeys& keys) {
  if (keys.epochs < 2) return;
  if (keys.packs.empty() && keys.records.empty() && keys.checkpoints.empty()) {
    std::printf("keys: all files and checkpoints are under the newest of %s; records stay under those of their time\n",
                format_count(keys.epochs, "epoch", "epochs").c_str());
    return;
  }
  std::printf("keys: under older ones lie %s, files in %s, and %s of checkpoints, %s together;\n",
              format_count(keys.packs.size(), "pack", "packs").c_str(),
              format_count(keys.records.size(), "record", "records").c_str(),
              format_count(keys.checkpoints.size(), "object", "objects").c_str(), format_bytes(keys.bytes).c_str());
  std::printf("      coffer key rotate --rewrite seals them anew (--json lists them)\n");
}

Outcome<void> tell(const CheckOutcome& outcome, const ReplicaFindings& local, const std::string& note, bool as_json) {
  uint64_t open = 0;
  for (const auto* list : {&outcome.damages, &local.damages})
    for (const Damage& d : *list)
      if (d.is_fault() && d.repaired.empty()) ++open;
  if (as_json) {
    json damages = json::array();
    for (const auto* list : {&outcome.damages, &local.damages})
      for (const Damage& d : *list) damages.push_back(damage_json(d));
    json all = {{"version", 1},
                {"objects", outcome.objects},
                {"object_bytes", outcome.object_bytes},
                {"records", outcome.records},
                {"checkpoints", outcome.checkpoints},
                {"files", outcome.files},
                {"packs", outcome.packs},
                {"packs_read", outcome.packs_read},
                {"bytes_read", outcome.bytes_read},
                {"older_keys",
                 {{"epochs", outcome.old_keys.epochs},
                  {"packs", outcome.old_keys.packs},
                  {"records", outcome.old_keys.records},
                  {"checkpoints", outcome.old_keys.checkpoints},
                  {"bytes", outcome.old_keys.bytes}}},
                {"local", note.empty() ? json({{"files", local.files}, {"frames", local.frames}}) : json(note)},
                {"faults", open},
                {"damages", damages}};
    std::puts(all.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  } else {
    for (const auto* list : {&outcome.damages, &local.damages})
      for (const Damage& d : *list) print_damage(d);
    std::printf("store: %s, %s; %s, %s, %s of %s read, %s\n",
                format_count(outcome.objects, "object", "objects").c_str(), format_bytes(outcome.object_bytes).c_str(),
                format_count(outcome.records, "record", "records").c_str(),
                format_count(outcome.checkpoints, "checkpoint", "checkpoints").c_str(),
                std::to_string(outcome.packs_read).c_str(), format_count(outcome.packs, "pack", "packs").c_str(),
                format_count(outcome.files, "file", "files").c_str());
    print_keys(outcome.old_keys);
    if (note.empty())
      std::printf("this device: %s, %s\n", format_count(local.files, "file", "files").c_str(),
                  format_count(local.frames, "frame", "frames").c_str());
    else
      std::printf("%s\n", note.c_str());
    if (open == 0) std::printf("no fault found%s\n", outcome.packs_read < outcome.packs ? " in the sample" : "");
  }
  if (open == 0) return {};
  return give_up(Exit::kDamaged, format_count(open, "fault", "faults") + " found");
}

Outcome<void> rebuild_to(const std::string& destination, ObjectStore& store, const VolumeSecrets& secrets,
                         const Arguments& arguments, std::stop_token stop) {
  TRY(RebuildWriter writer, RebuildWriter::make(absolute_path(destination)));
  CheckOptions options;
  options.stop = stop;
  Rebuild rebuild(store, secrets, std::move(options));
  TRYV(rebuild.scan());
  TRYV(writer.make_all(rebuild));
  std::optional<Failure> failure;
  auto damaged = rebuild.read([&](size_t file, uint64_t offset, BytesView bytes) -> Result<void> {
    auto written = writer.write(file, offset, bytes);
    if (written) return {};
    failure = written.error();
    return fail(Code::kIo, failure->what);
  });
  if (failure) return give_up(*failure);
  if (!damaged) return give_up(Failure(damaged.error()));
  TRYV(writer.finish(rebuild));

  json list = json::array();
  uint64_t whole = 0, bytes = 0;
  for (size_t i = 0; i < rebuild.files().size(); ++i) {
    const RecoveredFile& f = rebuild.files()[i];
    bytes += f.known;
    if (f.sure) ++whole;
    if (arguments.json)
      list.push_back({{"path", writer.path(i)}, {"size", f.size}, {"recovered", f.known}, {"sure", f.sure}});
    else
      std::printf("%s: %s of %s%s\n", shown_name(writer.path(i)).c_str(), format_bytes(f.known).c_str(),
                  format_bytes(f.size).c_str(), f.sure ? "" : ", by packs alone: its end may be missing or too long");
  }
  if (arguments.json) {
    json all = {{"version", 1},
                {"files", list},
                {"records", rebuild.records()},
                {"packs", rebuild.packs()},
                {"unverified_records", rebuild.unverified()},
                {"unreadable_records", rebuild.unreadable()},
                {"damaged_frames", *damaged}};
    std::puts(all.dump(2, ' ', false, json::error_handler_t::replace).c_str());
    return {};
  }
  std::printf("recovered %s (%s by records), %s, from %s and %s\n",
              format_count(rebuild.files().size(), "file", "files").c_str(), std::to_string(whole).c_str(),
              format_bytes(bytes).c_str(), format_count(rebuild.packs(), "pack", "packs").c_str(),
              format_count(rebuild.records(), "record", "records").c_str());
  if (rebuild.unreadable() > 0)
    std::printf("%s did not open\n", format_count(rebuild.unreadable(), "record", "records").c_str());
  if (rebuild.unverified() > 0)
    std::printf("the authors of %s could not be verified\n",
                format_count(rebuild.unverified(), "record", "records").c_str());
  if (*damaged > 0)
    std::printf("%s could not be recovered: zeros are in their place\n",
                format_count(*damaged, "frame", "frames").c_str());
  return {};
}

}  // namespace

Outcome<void> run_check(const Arguments& arguments) {
  const CheckArguments& wanted = arguments.check;
  TRY(Target target, target_of(arguments));
  Interrupt interrupt;
  TRY(OpenDrive remote, open_remote(target));
  StoppableStore store(*remote.store, interrupt.token());
  TRY(Subject subject, unlock_subject(target, store));
  if (!wanted.rebuild.empty()) return rebuild_to(wanted.rebuild, store, subject.secrets, arguments, interrupt.token());

  ReplicaFindings local;
  std::string note;
  TRY(auto copy, LocalCopy::open(target, subject.secrets, local.damages, note));
  if (copy) {
    TRY(subject.remembered.tails, seen_tails(copy->replica(), copy->device()));
    std::vector<Damage> before = std::move(local.damages);
    TRY(local, check_replica(copy->replica(), copy->path(), wanted.repair, interrupt.token()));
    local.damages.insert(local.damages.begin(), before.begin(), before.end());
  } else if (wanted.repair && !note.empty()) {
    std::fprintf(stderr, "coffer: note: %s; so only what the store itself tells can be repaired\n", note.c_str());
  }

  TRY(ScratchDirectory scratch_place, ScratchDirectory::make());
  auto scratch_keys = std::make_unique<LocalKeys>(subject.secrets.epoch_keys.begin()->second, Bytes(32));
  auto scratch = Replica::open(scratch_place.path(), replica_keys(subject.secrets, std::move(scratch_keys)), {});
  if (!scratch) return give_up(Failure(scratch.error()).in(scratch_place.path()));
  TRY(auto progress, CheckProgressFile::open(target.state_root, subject.secrets.volume, wanted.sample, wanted.restart));
  if (!progress.verified().empty() && !arguments.quiet)
    std::fprintf(stderr, "coffer: going on with a check that was interrupted: %s need not be read again\n",
                 format_count(progress.verified().size(), "pack", "packs").c_str());
  ProgressView view = ProgressView::on_stderr(arguments.quiet);
  CheckOptions options;
  options.sample = wanted.sample;
  options.seed = progress.seed();
  options.verified = progress.verified();
  options.stop = interrupt.token();
  options.on_verified = [&](const ObjectId& pack) { progress.add(pack); };
  options.progress = [&](const CheckProgress& p) {
    ProgressSample sample;
    sample.done_bytes = p.done_bytes;
    sample.total_bytes = p.total_bytes;
    view.show(sample);
  };
  auto outcome = check_store(store, subject.secrets, subject.remembered, **scratch, std::move(options));
  view.clear();
  if (!outcome && outcome.error().code() == Code::kCancelled)
    return give_up(Exit::kCutShort, "interrupted", "The next coffer check goes on where this one was.");
  if (!outcome) return give_up(Failure(outcome.error()));
  progress.finish();
  if (wanted.repair)
    TRYV(repair_store(store, subject.secrets, subject.remembered, copy ? &copy->replica() : nullptr, *outcome,
                      interrupt.token()));
  return tell(*outcome, local, note, arguments.json);
}

}  // namespace coffer::cli
