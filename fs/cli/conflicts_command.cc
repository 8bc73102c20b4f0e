// coffer conflicts: finds conflict copies on a mount by their names, and resolves them with ordinary renames and removals.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "fs/cli/commands.h"
#include "fs/cli/control_client.h"
#include "fs/cli/format.h"
#include "fs/cli/mount_table.h"
#include "fs/cli/terminal.h"
#include "fs/model/apply.h"

namespace coffer::cli {
namespace {

using nlohmann::json;
namespace files = std::filesystem;

struct CopyFound {
  std::string path, original;  // absolute
  model::ConflictName name;
  bool mine = false;  // this device's version
};

// Of a name that was too long, only a part stands in the copy's: the one file beside it that begins and ends so is meant.
std::string find_original(const files::path& copy, const model::ConflictName& name) {
  const files::path directory = copy.parent_path();
  const std::string whole = (directory / name.original).string();
  if (copy.filename().string().size() + 4 < model::kNameMax || ::access(whole.c_str(), F_OK) == 0) return whole;
  const std::string extension = files::path(name.original).extension().string();
  const std::string begin = name.original.substr(0, name.original.size() - extension.size());
  std::vector<std::string> meant;
  std::error_code failed;
  for (const auto& entry : files::directory_iterator(directory, failed)) {
    std::string other = entry.path().filename().string();
    if (other.starts_with(begin) && other.ends_with(extension) && !model::parse_conflict_name(other))
      meant.push_back(entry.path().string());
  }
  return meant.size() == 1 ? meant.front() : whole;
}

Outcome<std::vector<CopyFound>> find_copies(const std::string& below, const std::string& own_device) {
  // As the device's name stands in names.
  auto own = model::parse_conflict_name(model::conflict_name("x", own_device, {}, 1));
  std::vector<CopyFound> out;
  std::error_code failed;
  auto consider = [&](const files::path& path) {
    auto name = model::parse_conflict_name(path.filename().string());
    if (!name) return;
    bool mine = own && own->device == name->device;
    out.push_back({path.string(), find_original(path, *name), std::move(*name), mine});
  };
  struct stat st;
  if (::lstat(below.c_str(), &st) != 0) return give_up(Failure(errno_error(below, errno)));
  consider(below);
  if (!S_ISDIR(st.st_mode)) return out;
  files::recursive_directory_iterator walk(below, files::directory_options::skip_permission_denied, failed), end;
  for (; !failed && walk != end; walk.increment(failed)) consider(walk->path());
  if (failed) return give_up(Exit::kGeneral, below + ": " + failed.message());
  // A copy of a copy is resolved before the copy.
  std::stable_sort(out.begin(), out.end(), [](const CopyFound& a, const CopyFound& b) {
    return std::pair(b.path.size(), std::string_view(a.path)) < std::pair(a.path.size(), std::string_view(b.path));
  });
  return out;
}

json version_json(const std::string& path) {
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) return nullptr;
  return {{"path", path},
          {"size", st.st_size},
          {"mtime", format_time({int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec})}};
}

json copy_json(const CopyFound& c) {
  return {{"original", version_json(c.original)},
          {"copy", version_json(c.path)},
          {"device", c.name.device},
          {"date", c.name.date},
          {"mine", c.mine}};
}

void print_version(const std::string& path, const std::string& note) {
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) {
    std::printf("  %10s  %20s  %s: %s\n", "-", "-", shown_name(path).c_str(), std::strerror(errno));
    return;
  }
  std::string size = S_ISDIR(st.st_mode) ? "directory" : format_bytes(static_cast<uint64_t>(st.st_size));
  std::string time = format_time({int64_t{st.st_mtim.tv_sec} * 1'000'000'000});
  std::printf("  %10s  %20s  %s%s\n", size.c_str(), time.c_str(), shown_name(path).c_str(), note.c_str());
}

void list(const std::vector<CopyFound>& copies, bool as_json) {
  if (as_json) {
    json all = json::array();
    for (const CopyFound& c : copies) all.push_back(copy_json(c));
    std::printf("%s\n", all.dump(2, ' ', false, json::error_handler_t::replace).c_str());
    return;
  }
  for (const CopyFound& c : copies) {
    print_version(c.original, "");
    print_version(c.path, c.mine ? "  (of this device)" : "  (of " + shown_name(c.name.device) + ")");
  }
  std::printf("%s\n", format_count(copies.size(), "conflict copy", "conflict copies").c_str());
}

Outcome<void> rename_to(const std::string& from, const std::string& to, unsigned flags) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0) return {};
  return give_up(Failure(errno_error(from + " to " + to, errno)));
}

// An ordinary name for the copy: "report (HOST 2026-11-24).pdf".
Outcome<std::string> keep_both(const CopyFound& c) {
  const files::path original(c.name.original);
  for (unsigned attempt = 1;; ++attempt) {
    std::string note = " (" + c.name.device + " " + c.name.date;
    note += attempt > 1 ? " " + std::to_string(attempt) + ")" : ")";
    std::string name = original.stem().string() + note + original.extension().string();
    std::string path = (files::path(c.path).parent_path() / name).string();
    if (::access(path.c_str(), F_OK) == 0) continue;
    TRYV(rename_to(c.path, path, RENAME_NOREPLACE));
    return path;
  }
}

Outcome<std::string> resolve(const CopyFound& c, Keep keep) {
  if (keep == Keep::kMine) keep = c.mine ? Keep::kCopy : Keep::kOriginal;
  if (keep == Keep::kOthers) keep = c.mine ? Keep::kOriginal : Keep::kCopy;
  if (keep == Keep::kBoth) {
    TRY(std::string path, keep_both(c));
    return c.path + " is " + files::path(path).filename().string() + " now";
  }
  if (keep == Keep::kCopy) {
    TRYV(rename_to(c.path, c.original, 0));
    return c.original + " is what the copy was";
  }
  if (::access(c.original.c_str(), F_OK) != 0)
    return give_up(Exit::kGeneral, "there is no " + c.original + ": the copy is the only version",
                   "Keep the copy, or remove it yourself.");
  if (::unlink(c.path.c_str()) != 0) return give_up(Failure(errno_error(c.path, errno)));
  return c.original + " stays, its copy is removed";
}

// Absolute, and a symbolic link stands for itself.
Outcome<std::string> resolve_place(const std::string& place) {
  std::error_code failed;
  if (files::is_directory(files::symlink_status(place, failed))) return resolve_path(place);
  const files::path path(place);
  TRY(std::string directory, resolve_path(path.has_parent_path() ? path.parent_path().string() : "."));
  return directory + "/" + path.filename().string();
}

}  // namespace

Outcome<void> run_conflicts(const Arguments& arguments) {
  TRY(FoundMount mount, find_mount(arguments.operands[0]));
  TRY(json status, ask(mount, {Request::Op::kStatus}, {}, {}));
  const std::string own = status.value("device", "");
  if (arguments.keep && arguments.operands.size() == 1 && !arguments.all)
    return give_up(Exit::kUsage, "--keep needs paths of what to resolve, or --all");
  std::vector<std::string> places(arguments.operands.begin() + (arguments.operands.size() > 1 ? 1 : 0),
                                  arguments.operands.end());
  std::vector<CopyFound> copies;
  for (const std::string& place : places) {
    TRY(std::string path, resolve_place(place));
    if (!is_within(path, mount.mount_point))
      return give_up(Exit::kUsage, path + " is not on the mount " + mount.mount_point);
    TRY(auto found, find_copies(path, own));
    // A file stands for its copies.
    if (found.empty() && !files::is_directory(path)) {
      TRY(found, find_copies(files::path(path).parent_path().string(), own));
      std::erase_if(found, [&](const CopyFound& c) { return c.original != path; });
    }
    copies.insert(copies.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  }
  if (!arguments.keep) {
    list(copies, arguments.json);
    return {};
  }
  size_t failed = 0;
  for (const CopyFound& c : copies) {
    auto done = resolve(c, *arguments.keep);
    if (done) {
      if (!arguments.quiet) std::printf("%s\n", shown_name(*done).c_str());
    } else {
      ++failed;
      report(done.error());
    }
  }
  if (failed > 0)
    return give_up(Exit::kGeneral, "not resolved: " + format_count(failed, "conflict copy", "conflict copies"));
  if (copies.empty() && !arguments.quiet) std::printf("no conflict copies there\n");
  return {};
}

}  // namespace coffer::cli
