// Commands that talk to the daemon of a mount: unmount, sync, status.
#include <poll.h>
#include <unistd.h>

#include <cstdio>

#include "fs/cli/commands.h"
#include "fs/cli/control_client.h"
#include "fs/cli/format.h"
#include "fs/cli/mount_table.h"
#include "fs/cli/progress.h"
#include "fs/cli/signals.h"
#include "fs/cli/status_json.h"
#include "fs/fuse/dead_mount.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

uint64_t number(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
}

Outcome<json> ask_status(const std::string& directory) {
  TRY(FoundMount mount, find_mount(directory));
  return ask(mount, {Request::Op::kStatus}, {}, {});
}

void print_status(const json& status, bool as_json) {
  std::string text = as_json ? status.dump(2, ' ', false, json::error_handler_t::replace) + "\n" : status_text(status);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

Outcome<void> list_mounts(bool as_json) {
  TRY(auto mounts, read_mounts());
  json all = json::array();
  for (const MountEntry& m : mounts) {
    if (m.type != "fuse.coffer") continue;
    all.push_back({{"mount", m.mount_point}, {"store", m.source}, {"user", m.user}});
    if (!as_json) std::printf("%s on %s\n", m.source.c_str(), m.mount_point.c_str());
  }
  if (as_json) print_status(all, true);
  if (!as_json && all.empty()) std::printf("no coffer volume is mounted\n");
  return {};
}

}  // namespace

Outcome<void> run_status(const Arguments& arguments) {
  if (arguments.operands.empty()) return list_mounts(arguments.json);
  SignalFd signals;
  for (;;) {
    TRY(json status, ask_status(arguments.operands[0]));
    if (arguments.watch && !arguments.json && ::isatty(STDOUT_FILENO)) std::fputs("\x1b[H\x1b[2J", stdout);
    print_status(status, arguments.json);
    if (!arguments.watch) return {};
    pollfd wait{signals.fd(), POLLIN, 0};
    if (::poll(&wait, 1, 1000) != 0) return {};
  }
}

Outcome<void> run_sync(const Arguments& arguments) {
  TRY(FoundMount mount, find_mount(arguments.operands[0]));
  ProgressView view = ProgressView::on_stderr(arguments.quiet);
  auto done = ask(mount, {Request::Op::kSync}, [&view](const ProgressSample& s) { view.show(s); }, {});
  view.clear();
  if (!done && done.error().exit == Exit::kCutShort)
    return give_up(Exit::kCutShort, "sync ended early: " + done.error().what,
                   "Nothing is lost: what is not in the store yet goes on going up in the background.");
  if (!done) return give_up(done.error());
  if (!arguments.quiet) {
    const bool incomplete = done->value("news_incomplete", false);
    std::printf(
        "%s: all is in the store, and %s\n", mount.mount_point.c_str(),
        incomplete ? "all news is here that the store has; more is announced (see coffer status)" : "all news is here");
  }
  return {};
}

Outcome<void> run_unmount(const Arguments& arguments) {
  TRY(std::string path, resolve_path(arguments.operands[0]));
  if (is_dead_mount(path)) {
    TRYV(clear_dead_mount(path));
    std::printf("cleared %s: its coffer had died; what was acknowledged is kept for the next mount\n", path.c_str());
    return {};
  }
  TRY(FoundMount mount, find_mount(path));
  if (mount.mount_point != path)
    return give_up(Exit::kUsage, path + " is not the mount point", "Unmount " + mount.mount_point + ".");
  ProgressView view = ProgressView::on_stderr(arguments.quiet);
  Request request{Request::Op::kUnmount, arguments.now, arguments.lazy};
  auto hurry = [&view]() -> std::optional<Request> {
    view.clear();
    std::fputs("coffer: leaving the rest for the next mount\n", stderr);
    return Request{Request::Op::kHurry};
  };
  auto done = ask(
      mount, request, [&view](const ProgressSample& s) { view.show(s); }, hurry);
  view.clear();
  if (!done) return give_up(done.error());
  uint64_t bytes = number(*done, "left_bytes"), files = number(*done, "left_files");
  if (bytes == 0 && files == 0) {
    if (!arguments.quiet) std::printf("%s unmounted; all is in the store\n", path.c_str());
    return {};
  }
  // Names and attributes have no bytes that would be counted, and what was removed has no file.
  std::string left = files == 0 ? format_bytes(bytes) : format_count(files, "file", "files");
  if (files != 0 && bytes != 0) left = format_bytes(bytes) + " in " + left;
  std::string why =
      done->contains("reason") && (*done)["reason"].is_string() ? (*done)["reason"].get<std::string>() : "";
  std::string what = path + " unmounted; not in the store yet: " + left + (why.empty() ? "" : " (" + why + ")");
  std::string then = "It is kept on this machine, and goes up at the next mount.";
  if (done->value("revoked", false)) {
    what = path + " unmounted; not in the store, since this device has been revoked: " + left;
    then = "It is kept on this machine, and never goes up. To save it, mount again, and copy it elsewhere.";
  }
  // Asked for with --now, it is what should happen; otherwise it is less than was asked for.
  if (!arguments.now) return give_up(Exit::kCutShort, what, then);
  std::printf("%s\n%s\n", what.c_str(), then.c_str());
  return {};
}

}  // namespace coffer::cli
