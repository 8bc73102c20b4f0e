// coffer gc: deleting from the store what nobody needs any more.
#include <cstdio>

#include "fs/cli/commands.h"
#include "fs/cli/control_client.h"
#include "fs/cli/format.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/progress.h"
#include "fs/cli/status_json.h"
#include "fs/cli/target.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

CollectOptions collect_options(const Arguments& arguments) {
  CollectOptions options;
  options.grace = arguments.grace;
  options.list_objects = true;
  options.dry_run = arguments.dry_run;
  return options;
}

// As the device that this machine is in the volume: since when something is dead is in its state directory.
Outcome<json> collect_without_mount(const Arguments& arguments, ProgressView& view) {
  TRY(Target target, resolve_target(arguments));
  Interrupt interrupt;
  TRY(OpenDrive drive, open_remote(target));
  TRYV(unlock_and_open_local(drive, target, interrupt.token()));
  auto done =
      drive.synchronizer->collect(collect_options(arguments), interrupt.token(), [&view](const SyncProgress& p) {
        view.show({p.done_bytes, p.total_bytes, p.waiting_files, p.rate, true, ""});
      });
  drive.synchronizer->stop(true);
  TRYV(drive.replica->close());
  if (!done) return give_up(collect_failure(done.error()));
  return collection_json(*done);
}

}  // namespace

Outcome<void> run_gc(const Arguments& arguments) {
  ProgressView view = ProgressView::on_stderr(arguments.quiet);
  auto collect = [&]() -> Outcome<json> {
    if (!on_a_mount(arguments.operands[0])) return collect_without_mount(arguments, view);
    TRY(FoundMount mount, find_mount(arguments.operands[0]));
    Request request{Request::Op::kCollect};
    request.collect = collect_options(arguments);
    return ask(mount, request, [&view](const ProgressSample& s) { view.show(s); }, {});
  };
  auto done = collect();
  view.clear();
  if (!done && done.error().exit == Exit::kCutShort)
    return give_up(Exit::kCutShort, "gc ended early: " + done.error().what, "What is left is found again by the next.");
  if (!done) return give_up(done.error());
  std::string text = arguments.json ? done->dump(2) + "\n" : collection_text(*done, arguments.dry_run);
  std::fputs(text.c_str(), stdout);
  return {};
}

}  // namespace coffer::cli
