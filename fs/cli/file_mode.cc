#include "fs/cli/file_mode.h"

#include <sys/stat.h>

namespace coffer::cli {
namespace {

struct Kind {
  const char* name;
  char letter;
  mode_t bits;
};

Kind kind_of(model::FileType type) {
  switch (type) {
    case model::FileType::kRegular:
      return {"file", '-', S_IFREG};
    case model::FileType::kDirectory:
      return {"directory", 'd', S_IFDIR};
    case model::FileType::kSymlink:
      return {"symlink", 'l', S_IFLNK};
    case model::FileType::kFifo:
      return {"fifo", 'p', S_IFIFO};
    case model::FileType::kSocket:
      return {"socket", 's', S_IFSOCK};
    case model::FileType::kCharDevice:
      return {"character device", 'c', S_IFCHR};
    case model::FileType::kBlockDevice:
      return {"block device", 'b', S_IFBLK};
  }
  return {"unknown", '?', 0};
}

}  // namespace

const char* type_name(model::FileType type) { return kind_of(type).name; }

mode_t mode_bits(const model::Inode& inode) { return kind_of(inode.type).bits | (inode.mode & 07777); }

std::string mode_text(const model::Inode& inode) {
  std::string text(1, kind_of(inode.type).letter);
  for (int shift : {6, 3, 0}) {
    uint32_t bits = inode.mode >> shift;
    text += bits & 4 ? 'r' : '-';
    text += bits & 2 ? 'w' : '-';
    text += bits & 1 ? 'x' : '-';
  }
  auto special = [&](uint32_t bit, size_t at, char with_x, char without) {
    if (inode.mode & bit) text[at] = text[at] == 'x' ? with_x : without;
  };
  special(04000, 3, 's', 'S');
  special(02000, 6, 's', 'S');
  special(01000, 9, 't', 'T');
  return text;
}

}  // namespace coffer::cli
