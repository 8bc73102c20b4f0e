#include "fs/cli/mount_table.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "base/fd.h"

namespace coffer::cli {
namespace {

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  while (!line.empty()) {
    size_t space = line.find(' ');
    fields.push_back(line.substr(0, space));
    line = space == std::string_view::npos ? "" : line.substr(space + 1);
  }
  return fields;
}

// The kernel writes blanks, newlines and backslashes as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '\\' && text.size() - i >= 4) {
      auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 4, value, 8);
      if (error == std::errc() && end == text.data() + i + 4 && value < 256) {
        out += static_cast<char>(value);
        i += 3;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> mounts;
  while (!text.empty()) {
    size_t newline = text.find('\n');
    auto fields = fields_of(text.substr(0, newline));
    text = newline == std::string_view::npos ? "" : text.substr(newline + 1);
    size_t separator = 6;
    while (separator < fields.size() && fields[separator] != "-") ++separator;
    if (separator + 3 >= fields.size()) continue;
    MountEntry entry{unescape(fields[4]), std::string(fields[separator + 1]), unescape(fields[separator + 2]), 0};
    std::string_view options = fields[separator + 3];
    if (size_t at = options.find("user_id="); at != std::string_view::npos)
      std::from_chars(options.data() + at + 8, options.data() + options.size(), entry.user);
    mounts.push_back(std::move(entry));
  }
  return mounts;
}

Outcome<std::vector<MountEntry>> read_mounts() {
  TRY(Bytes text, read_file("/proc/self/mountinfo", 64 << 20));
  return parse_mountinfo(as_string(text));
}

const MountEntry* find_coffer_mount(const std::vector<MountEntry>& mounts, const std::string& path) {
  const MountEntry* best = nullptr;
  for (const MountEntry& m : mounts) {
    bool longer = best == nullptr || m.mount_point.size() >= best->mount_point.size();
    if (is_within(path, m.mount_point) && longer) best = &m;
  }
  return best != nullptr && best->type == "fuse.coffer" ? best : nullptr;
}

Outcome<std::string> resolve_path(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) != nullptr) return std::string(resolved);
  int err = errno;
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  size_t slash = trimmed.find_last_of('/');
  std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : trimmed.substr(0, slash);
  std::string last = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  if (last.empty() || last == "." || last == ".." || ::realpath(parent.c_str(), resolved) == nullptr)
    return give_up(Failure(errno_error(path, err)));
  std::string above = resolved;
  return (above == "/" ? "" : above) + "/" + last;
}

bool is_within(const std::string& inner, const std::string& outer) {
  if (outer == "/") return inner.starts_with('/');
  return inner == outer || (inner.starts_with(outer) && inner[outer.size()] == '/');
}

}  // namespace coffer::cli
