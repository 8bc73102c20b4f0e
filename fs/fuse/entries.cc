#include "fs/fuse/entries.h"

#include "fs/fuse/attributes.h"

namespace coffer::fuse {

Result<fuse_entry_param> entry_of(FileSystem& fs, model::Node node, uint64_t ticket) {
  auto id = fs.nodes.acquire(node.ino, ticket);
  while (!id) {
    ticket = fs.nodes.ticket();
    TRY(node.inode, fs.replica.attributes(node.ino));
    id = fs.nodes.acquire(node.ino, ticket);
  }
  fuse_entry_param entry{};
  entry.ino = *id;
  entry.attr = to_stat(node.ino, node.inode, fs.options);
  entry.attr_timeout = kForever;
  entry.entry_timeout = kForever;
  return entry;
}

}  // namespace coffer::fuse
