#include "fs/cli/exporter.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "fs/cli/commands.h"
#include "fs/cli/file_mode.h"
#include "fs/cli/format.h"
#include "fs/cli/interrupt.h"
#include "remote/url.h"

namespace coffer::cli {
namespace {

constexpr size_t kHoleGrain = 64 << 10;

timespec to_timespec(WallTime t) {
  int64_t seconds = t.ns / 1'000'000'000, rest = t.ns % 1'000'000'000;
  if (rest < 0) {
    --seconds;
    rest += 1'000'000'000;
  }
  return {static_cast<time_t>(seconds), static_cast<long>(rest)};
}

bool all_zero(BytesView b) {
  return std::all_of(b.begin(), b.end(), [](uint8_t x) { return x == 0; });
}

// Writes all but what is zero as a whole, so that holes stay holes.
Result<void> write_sparsely(const Fd& fd, BytesView piece, uint64_t offset) {
  while (!piece.empty()) {
    BytesView grain = piece.first(std::min(piece.size(), kHoleGrain));
    if (!all_zero(grain)) TRYV(write_at(fd, grain, offset));
    piece = piece.subspan(grain.size());
    offset += grain.size();
  }
  return {};
}

}  // namespace

Outcome<void> Exporter::run(const model::Node& node, const std::string& destination) {
  struct stat st;
  if (::lstat(destination.c_str(), &st) == 0)
    return give_up(Exit::kUsage, destination + " is there already", "Name a place that does not exist.");
  return copy(node, AT_FDCWD, destination, destination);
}

Outcome<void> Exporter::copy(const model::Node& node, int dir, const std::string& name, const std::string& path) {
  if (node.inode.is_directory()) return copy_directory(node, dir, name, path);
  if (copy_as_link(node, dir, name, path)) return {};
  ++files_;
  if (node.inode.is_regular()) return copy_file(node, dir, name, path);
  return copy_special(node, dir, name, path);
}

Outcome<void> Exporter::copy_directory(const model::Node& node, int dir, const std::string& name,
                                       const std::string& path) {
  if (::mkdirat(dir, name.c_str(), 0700) != 0) return give_up(Failure(errno_error(path, errno)));
  Fd here(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!here) return give_up(Failure(errno_error(path, errno)));
  TRYV(reader_.for_each(
      node.ino, [&](const Replica::ListedNode& n) { return copy(n.node, here.get(), n.name, path + "/" + n.name); }));
  copy_attributes(node, dir, name, path);
  return {};
}

Outcome<void> Exporter::copy_file(const model::Node& node, int dir, const std::string& name, const std::string& path) {
  Fd file(::openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return give_up(Failure(errno_error(path, errno)));
  auto copied = reader_.read_all(node.ino, [&](uint64_t offset, BytesView piece) -> Outcome<void> {
    bytes_ += piece.size();
    TRYV(write_sparsely(file, piece, offset));
    return {};
  });
  if (!copied) return give_up(copied.error().in(path));
  if (::ftruncate(file.get(), static_cast<off_t>(node.inode.size)) != 0)
    return give_up(Failure(errno_error(path, errno)));
  copy_attributes(node, dir, name, path);
  return {};
}

Outcome<void> Exporter::copy_special(const model::Node& node, int dir, const std::string& name,
                                     const std::string& path) {
  int made = node.inode.type == model::FileType::kSymlink
                 ? ::symlinkat(node.inode.target.c_str(), dir, name.c_str())
                 : ::mknodat(dir, name.c_str(), mode_bits(node.inode), static_cast<dev_t>(node.inode.rdev));
  if (made == 0)
    copy_attributes(node, dir, name, path);
  else
    leave_out(path, type_name(node.inode.type), errno);
  return {};
}

bool Exporter::copy_as_link(const model::Node& node, int dir, const std::string& name, const std::string& path) {
  if (node.inode.nlink < 2) return false;
  auto [first, is_new] = first_names_.emplace(node.ino, path);
  // A path that is too long for the system gives a second copy.
  return !is_new && ::linkat(AT_FDCWD, first->second.c_str(), dir, name.c_str(), 0) == 0;
}

void Exporter::copy_xattrs(const model::Node& node, int dir, const std::string& name, const std::string& path) {
  if (!node.inode.has_xattrs) return;
  auto xattrs = reader_.replica().list_xattrs(node.ino);
  if (!xattrs) return leave_out(path, "extended attributes", EIO);
  // There is no lsetxattrat(): this way it is the link's own attributes, and the path may be long.
  const std::string here = dir == AT_FDCWD ? name : "/proc/self/fd/" + std::to_string(dir) + "/" + name;
  for (const model::Xattr& x : *xattrs)
    if (::lsetxattr(here.c_str(), x.name.c_str(), x.value.data(), x.value.size(), 0) != 0)
      leave_out(path, "extended attribute " + printable(x.name), errno);
}

// The owner first: giving a file away takes its capabilities. Attributes before the mode, which may forbid writing them.
void Exporter::copy_attributes(const model::Node& node, int dir, const std::string& name, const std::string& path) {
  const model::Inode& inode = node.inode;
  bool is_link = inode.type == model::FileType::kSymlink;
  if (::geteuid() == 0 && ::fchownat(dir, name.c_str(), inode.uid, inode.gid, AT_SYMLINK_NOFOLLOW) != 0)
    leave_out(path, "owner", errno);
  copy_xattrs(node, dir, name, path);
  if (!is_link && ::fchmodat(dir, name.c_str(), inode.mode & 07777, 0) != 0) leave_out(path, "mode", errno);
  timespec times[] = {to_timespec(inode.atime), to_timespec(inode.mtime)};
  if (::utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) leave_out(path, "times", errno);
}

void Exporter::leave_out(const std::string& path, const std::string& what, int err) {
  ++left_out_;
  std::fprintf(stderr, "coffer: warning: %s: %s left out: %s\n", printable(path, 1000).c_str(), what.c_str(),
               std::strerror(err));
}

Outcome<void> run_export(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  Interrupt interrupt;
  TRY(auto reader, StoreReader::open(std::move(target), interrupt.token()));
  TRY(model::Node node, reader->find(arguments.operands[1]));
  Exporter exporter(*reader);
  TRYV(exporter.run(node, arguments.operands[2]));
  std::string summary = format_count(exporter.files(), "file", "files") + ", " + format_bytes(exporter.bytes());
  if (exporter.left_out() != 0) summary += "; " + std::to_string(exporter.left_out()) + " things left out (see above)";
  if (!arguments.quiet) std::printf("exported %s\n", summary.c_str());
  return {};
}

}  // namespace coffer::cli
