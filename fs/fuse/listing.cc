// Reading directories. Offsets are the entries' cookies: 1 and 2 are "." and "..", the model's own begin at 3. They stay
// as they are while names come and go, so there is no state between calls, and opening a directory needs no upcall.
#include "fs/fuse/attributes.h"
#include "fs/fuse/entries.h"
#include "fs/fuse/name_operations.h"

namespace coffer::fuse {

namespace {

constexpr off_t kDot = 1, kDotDot = 2;
static_assert(model::kFirstCookie > kDotDot);

// The shortest records that the kernel's buffer can hold, so that few entries are read in vain.
constexpr size_t kLeastRecord = 32, kLeastRecordPlus = 160;

// One directory reply in the making.
class Listing {
 public:
  Listing(fuse_req_t req, size_t size) : req_(req) { reply_.bytes.resize(size); }

  // False: no room for it.
  bool add(const std::string& name, const struct stat& attributes, off_t offset) {
    return took(fuse_add_direntry(req_, free(), room(), name.c_str(), &attributes, offset));
  }
  bool add_plus(const std::string& name, const fuse_entry_param& entry, off_t offset) {
    if (!took(fuse_add_direntry_plus(req_, free(), room(), name.c_str(), &entry, offset))) return false;
    if (entry.ino != 0) reply_.looked_up.push_back(entry.ino);
    return true;
  }
  bool empty() const { return used_ == 0; }

  ListingReply take() {
    reply_.bytes.resize(used_);
    return std::move(reply_);
  }

 private:
  char* free() { return reply_.bytes.data() + used_; }
  size_t room() const { return reply_.bytes.size() - used_; }
  bool took(size_t needed) {
    if (needed > room()) return false;
    used_ += needed;
    return true;
  }

  fuse_req_t req_;
  ListingReply reply_;
  size_t used_ = 0;
};

struct stat kind(Ino ino, model::FileType type) {
  struct stat st {};
  st.st_ino = ino;
  st.st_mode = type_bits(type);
  return st;
}

// "." and "..", as far as they come after `offset`. For the kernel they count as no lookup.
Result<void> add_dots(FileSystem& fs, Ino dir, off_t offset, bool plus, Listing& listing) {
  if (offset >= kDotDot) return {};
  TRY(model::Inode inode, fs.replica.attributes(dir));
  auto add = [&](const char* name, Ino ino, off_t next) {
    if (!plus) return listing.add(name, kind(ino, model::FileType::kDirectory), next);
    fuse_entry_param entry{};
    entry.attr = kind(ino, model::FileType::kDirectory);
    return listing.add_plus(name, entry, next);
  };
  if (offset < kDot) add(".", dir, kDot);
  add("..", inode.parent != 0 ? inode.parent : dir, kDotDot);
  return {};
}

uint64_t cookie_of(off_t offset) { return static_cast<uint64_t>(offset < kDotDot ? kDotDot : offset); }

}  // namespace

Result<ListingReply> readdir(FileSystem& fs, fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                             fuse_file_info*) {
  Ino dir = fs.nodes.resolve(id).ino;
  Listing listing(req, size);
  TRYV(add_dots(fs, dir, offset, false, listing));
  TRY(auto entries, fs.replica.list(dir, cookie_of(offset), size / kLeastRecord));
  for (const model::ListedEntry& e : entries)
    if (!listing.add(e.entry.name, kind(e.entry.ino, e.entry.type), static_cast<off_t>(e.cookie))) break;
  return listing.take();
}

Result<ListingReply> readdirplus(FileSystem& fs, fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                                 fuse_file_info*) {
  Ino dir = fs.nodes.resolve(id).ino;
  Listing listing(req, size);
  TRYV(add_dots(fs, dir, offset, true, listing));
  uint64_t ticket = fs.nodes.ticket();
  TRY(auto entries, fs.replica.list_nodes(dir, cookie_of(offset), size / kLeastRecordPlus + 1));
  for (Replica::ListedNode& e : entries) {
    if (!e.here) {  // the name alone: who asks for what it leads to waits for it
      fuse_entry_param entry{};
      entry.attr = kind(e.node.ino, e.type);
      if (!listing.add_plus(e.name, entry, static_cast<off_t>(e.cookie))) break;
      continue;
    }
    auto entry = entry_of(fs, std::move(e.node), ticket);
    if (!entry) {
      if (entry.error().code() == Code::kStale) continue;  // removed since it was listed
      for (NodeId counted : listing.take().looked_up) fs.release(counted, 1);
      return fail(entry.error());
    }
    if (!listing.add_plus(e.name, *entry, static_cast<off_t>(e.cookie))) {
      fs.release(entry->ino, 1);
      break;
    }
  }
  return listing.take();
}

Result<OpenReply> opendir(FileSystem& fs, fuse_req_t, fuse_ino_t, fuse_file_info* file) {
  OpenReply reply{*file, fs.no_opendir};
  reply.file.cache_readdir = 1;
  reply.file.keep_cache = 1;
  return reply;
}

}  // namespace coffer::fuse
