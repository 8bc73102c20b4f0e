#include "fs/check/paths.h"

#include <algorithm>
#include <set>

namespace coffer {
namespace {

constexpr uint64_t kPiece = uint64_t{64} << 20;
constexpr size_t kListPiece = 1000;

}  // namespace

std::optional<std::string> path_of(Replica& replica, Ino ino) {
  constexpr int kDepthMax = 4096;
  std::string path;
  for (int depth = 0; ino != model::kRootIno; ++depth) {
    auto names = replica.names_of(ino);
    if (!names || names->empty() || depth == kDepthMax) return std::nullopt;
    path.insert(0, "/" + names->front().name);
    ino = names->front().dir;
  }
  return path;
}

Result<void> visit_files(Replica& replica, const std::stop_token& stop,
                         const std::function<Result<void>(Ino ino, std::span<const model::Extent> extents)>& visit,
                         uint64_t* files) {
  TRY(bool root, replica.has_root());
  std::vector<Ino> directories;
  if (root) directories.push_back(model::kRootIno);
  std::set<Ino> seen;  // of files with several names
  auto visit_one = [&](Ino ino, uint64_t size) -> Result<void> {
    ++*files;
    for (uint64_t at = 0; at < size;) {
      auto data = replica.seek_data(ino, at);
      if (!data && data.error().code() == Code::kNoData) return {};
      if (!data) return fail(data.error());
      const uint64_t length = std::min(kPiece, size - *data);
      TRY(auto extents, replica.extents(ino, *data, length));
      TRYV(visit(ino, extents));
      at = *data + length;
    }
    return {};
  };
  while (!directories.empty()) {
    Ino dir = directories.back();
    directories.pop_back();
    for (uint64_t after = 0;;) {
      if (stop.stop_requested()) return fail(Code::kCancelled, "interrupted");
      TRY(auto nodes, replica.list_nodes(dir, after, kListPiece));
      if (nodes.empty()) break;
      after = nodes.back().cookie;
      for (const auto& n : nodes) {
        const model::Inode& inode = n.node.inode;
        if (inode.is_directory()) directories.push_back(n.node.ino);
        if (!inode.is_regular() || (inode.nlink > 1 && !seen.insert(n.node.ino).second)) continue;
        TRYV(visit_one(n.node.ino, inode.size));
      }
    }
  }
  return {};
}

}  // namespace coffer
