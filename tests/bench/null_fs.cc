// A file system that keeps names and attributes in memory and no contents: what FUSE itself costs, as the limit that the
// benchmark measures against. It asks the kernel for the same things as coffer does. Reads give zeros.
//
//   null_fs DIR [THREADS]     serves in the foreground until unmounted (fusermount3 -u DIR)
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

constexpr double kForever = 1e9;
constexpr size_t kReadMax = 1 << 20;

struct Node {
  struct stat attributes {};
  std::string target;
  fuse_ino_t parent = 0;
  std::unordered_map<std::string, uint64_t> cookies;
  std::map<uint64_t, std::pair<std::string, fuse_ino_t>> entries;  // by cookie, from 3 on
  uint64_t next_cookie = 3;
  uint64_t lookups = 0;
};

// One lock over all: what it costs is little beside an upcall.
class NullFs {
 public:
  NullFs() { make(S_IFDIR | 0755, 0, 0); }

  static NullFs& of(fuse_req_t req) { return *static_cast<NullFs*>(fuse_req_userdata(req)); }

  Node* find(fuse_ino_t id) {
    auto it = nodes_.find(id);
    return it == nodes_.end() ? nullptr : it->second.get();
  }
  fuse_ino_t child(Node& dir, const char* name) {
    auto it = dir.cookies.find(name);
    return it == dir.cookies.end() ? 0 : dir.entries[it->second].second;
  }
  fuse_ino_t make(mode_t mode, uid_t uid, gid_t gid) {
    fuse_ino_t id = next_++;
    auto node = std::make_unique<Node>();
    node->attributes.st_ino = id;
    node->attributes.st_mode = mode;
    node->attributes.st_nlink = S_ISDIR(mode) ? 2 : 1;
    node->attributes.st_uid = uid;
    node->attributes.st_gid = gid;
    clock_gettime(CLOCK_REALTIME, &node->attributes.st_mtim);
    node->attributes.st_atim = node->attributes.st_ctim = node->attributes.st_mtim;
    nodes_[id] = std::move(node);
    return id;
  }
  void attach(fuse_ino_t dir_id, const std::string& name, fuse_ino_t id) {
    Node& dir = *find(dir_id);
    uint64_t cookie = dir.next_cookie++;
    dir.cookies[name] = cookie;
    dir.entries[cookie] = {name, id};
    Node& node = *find(id);
    if (S_ISDIR(node.attributes.st_mode)) ++dir.attributes.st_nlink;
    node.parent = dir_id;
    clock_gettime(CLOCK_REALTIME, &dir.attributes.st_mtim);
    dir.attributes.st_ctim = dir.attributes.st_mtim;
  }
  void detach(Node& dir, const std::string& name) {
    auto it = dir.cookies.find(name);
    fuse_ino_t id = dir.entries[it->second].second;
    dir.entries.erase(it->second);
    dir.cookies.erase(it);
    if (Node* node = find(id); node && S_ISDIR(node->attributes.st_mode)) --dir.attributes.st_nlink;
    clock_gettime(CLOCK_REALTIME, &dir.attributes.st_mtim);
  }
  void drop_link(fuse_ino_t id) {
    Node* node = find(id);
    node->attributes.st_nlink -= S_ISDIR(node->attributes.st_mode) ? 2 : 1;
    drop_if_unused(id);
  }
  void forget(fuse_ino_t id, uint64_t count) {
    Node* node = find(id);
    if (!node) return;
    node->lookups -= count;
    drop_if_unused(id);
  }
  fuse_entry_param entry(fuse_ino_t id) {
    Node& node = *find(id);
    ++node.lookups;
    fuse_entry_param e{};
    e.ino = id;
    e.attr = node.attributes;
    e.attr_timeout = e.entry_timeout = kForever;
    return e;
  }

  std::shared_mutex mutex;

 private:
  void drop_if_unused(fuse_ino_t id) {
    Node* node = find(id);
    if (node->attributes.st_nlink == 0 && node->lookups == 0) nodes_.erase(id);
  }
  std::unordered_map<fuse_ino_t, std::unique_ptr<Node>> nodes_;
  fuse_ino_t next_ = FUSE_ROOT_ID;
};

using Exclusive = std::unique_lock<std::shared_mutex>;

void init(void*, fuse_conn_info* conn) {
  conn->want = conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS |
                                FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS |
                                FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT);
  conn->max_background = 4096;
}

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  NullFs& fs = NullFs::of(req);
  fuse_entry_param e{};
  e.entry_timeout = kForever;
  {
    Exclusive lock(fs.mutex);
    Node* dir = fs.find(parent);
    fuse_ino_t id = dir ? fs.child(*dir, name) : 0;
    if (id != 0) e = fs.entry(id);
  }
  fuse_reply_entry(req, &e);
}

void forget(fuse_req_t req, fuse_ino_t id, uint64_t count) {
  NullFs& fs = NullFs::of(req);
  {
    Exclusive lock(fs.mutex);
    fs.forget(id, count);
  }
  fuse_reply_none(req);
}

void forget_multi(fuse_req_t req, size_t n, fuse_forget_data* forgets) {
  NullFs& fs = NullFs::of(req);
  {
    Exclusive lock(fs.mutex);
    for (size_t i = 0; i < n; ++i) fs.forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(req);
}

void getattr(fuse_req_t req, fuse_ino_t id, fuse_file_info*) {
  NullFs& fs = NullFs::of(req);
  struct stat st;
  {
    Exclusive lock(fs.mutex);
    st = fs.find(id)->attributes;
  }
  fuse_reply_attr(req, &st, kForever);
}

void setattr(fuse_req_t req, fuse_ino_t id, struct stat* wanted, int which, fuse_file_info*) {
  NullFs& fs = NullFs::of(req);
  struct stat st;
  {
    Exclusive lock(fs.mutex);
    struct stat& a = fs.find(id)->attributes;
    if (which & FUSE_SET_ATTR_MODE) a.st_mode = (a.st_mode & S_IFMT) | (wanted->st_mode & 07777);
    if (which & FUSE_SET_ATTR_UID) a.st_uid = wanted->st_uid;
    if (which & FUSE_SET_ATTR_GID) a.st_gid = wanted->st_gid;
    if (which & FUSE_SET_ATTR_SIZE) a.st_size = wanted->st_size;
    if (which & FUSE_SET_ATTR_ATIME) a.st_atim = wanted->st_atim;
    if (which & FUSE_SET_ATTR_MTIME) a.st_mtim = wanted->st_mtim;
    if (which & FUSE_SET_ATTR_CTIME) a.st_ctim = wanted->st_ctim;
    st = a;
  }
  fuse_reply_attr(req, &st, kForever);
}

// 0, or the errno; then nothing was made.
int make(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, const char* target, fuse_entry_param& e) {
  NullFs& fs = NullFs::of(req);
  const fuse_ctx* caller = fuse_req_ctx(req);
  Exclusive lock(fs.mutex);
  Node* dir = fs.find(parent);
  if (!dir || dir->attributes.st_nlink == 0) return ENOENT;
  if (fs.child(*dir, name) != 0) return EEXIST;
  fuse_ino_t id = fs.make(mode, caller->uid, caller->gid);
  if (target) fs.find(id)->target = target;
  if (target) fs.find(id)->attributes.st_size = static_cast<off_t>(strlen(target));
  fs.attach(parent, name, id);
  e = fs.entry(id);
  return 0;
}

void make_and_reply(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, const char* target) {
  fuse_entry_param e{};
  if (int err = make(req, parent, name, mode, target, e))
    fuse_reply_err(req, err);
  else
    fuse_reply_entry(req, &e);
}

void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
  make_and_reply(req, parent, name, mode, nullptr);
}
void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  make_and_reply(req, parent, name, S_IFDIR | mode, nullptr);
}
void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  make_and_reply(req, parent, name, S_IFLNK | 0777, target);
}

void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* file) {
  fuse_entry_param e{};
  file->keep_cache = 1;
  if (int err = make(req, parent, name, S_IFREG | (mode & 07777), nullptr, e))
    fuse_reply_err(req, err);
  else
    fuse_reply_create(req, &e, file);
}

void readlink(fuse_req_t req, fuse_ino_t id) {
  NullFs& fs = NullFs::of(req);
  std::string target;
  {
    Exclusive lock(fs.mutex);
    target = fs.find(id)->target;
  }
  fuse_reply_readlink(req, target.c_str());
}

void link(fuse_req_t req, fuse_ino_t id, fuse_ino_t parent, const char* name) {
  NullFs& fs = NullFs::of(req);
  fuse_entry_param e{};
  {
    Exclusive lock(fs.mutex);
    ++fs.find(id)->attributes.st_nlink;
    fs.attach(parent, name, id);
    e = fs.entry(id);
  }
  fuse_reply_entry(req, &e);
}

int remove(NullFs& fs, fuse_ino_t parent, const char* name, bool directory) {
  Node* dir = fs.find(parent);
  fuse_ino_t id = fs.child(*dir, name);
  if (id == 0) return ENOENT;
  if (directory && !fs.find(id)->entries.empty()) return ENOTEMPTY;
  fs.detach(*dir, name);
  fs.drop_link(id);
  return 0;
}

void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  NullFs& fs = NullFs::of(req);
  int err = 0;
  {
    Exclusive lock(fs.mutex);
    err = remove(fs, parent, name, false);
  }
  fuse_reply_err(req, err);
}

void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  NullFs& fs = NullFs::of(req);
  int err = 0;
  {
    Exclusive lock(fs.mutex);
    err = remove(fs, parent, name, true);
  }
  fuse_reply_err(req, err);
}

void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name,
            unsigned flags) {
  NullFs& fs = NullFs::of(req);
  int err = flags == 0 ? 0 : EINVAL;
  if (err == 0) {
    Exclusive lock(fs.mutex);
    fuse_ino_t id = fs.child(*fs.find(parent), name);
    fuse_ino_t over = fs.child(*fs.find(new_parent), new_name);
    if (over != 0) err = remove(fs, new_parent, new_name, S_ISDIR(fs.find(over)->attributes.st_mode));
    if (err == 0) {
      fs.detach(*fs.find(parent), name);
      fs.attach(new_parent, new_name, id);
    }
  }
  fuse_reply_err(req, err);
}

// So that the kernel need not ask again.
void no_open(fuse_req_t req, fuse_ino_t, fuse_file_info*) { fuse_reply_err(req, ENOSYS); }

void read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  static const char zeros[kReadMax] = {};
  NullFs& fs = NullFs::of(req);
  off_t end = 0;
  {
    Exclusive lock(fs.mutex);
    end = fs.find(id)->attributes.st_size;
  }
  size_t there = offset >= end ? 0 : static_cast<size_t>(end - offset);
  fuse_reply_buf(req, zeros, std::min({size, there, kReadMax}));
}

void write(fuse_req_t req, fuse_ino_t id, const char*, size_t size, off_t offset, fuse_file_info*) {
  NullFs& fs = NullFs::of(req);
  {
    Exclusive lock(fs.mutex);
    off_t& end = fs.find(id)->attributes.st_size;
    end = std::max(end, offset + static_cast<off_t>(size));
  }
  fuse_reply_write(req, size);
}

void fsync(fuse_req_t req, fuse_ino_t, int, fuse_file_info*) { fuse_reply_err(req, 0); }

void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, bool plus) {
  NullFs& fs = NullFs::of(req);
  std::vector<char> buffer(size);
  size_t used = 0;
  {
    Exclusive lock(fs.mutex);
    Node& dir = *fs.find(id);
    auto add = [&](const std::string& name, fuse_ino_t of, off_t next, bool counts) {
      char* free = buffer.data() + used;
      size_t room = size - used, needed = 0;
      if (plus) {
        fuse_entry_param e{};
        if (counts) e = fs.entry(of);
        if (!counts) e.attr.st_ino = of, e.attr.st_mode = S_IFDIR;
        needed = fuse_add_direntry_plus(req, free, room, name.c_str(), &e, next);
        if (needed > room && counts) fs.forget(of, 1);
      } else {
        needed = fuse_add_direntry(req, free, room, name.c_str(), &fs.find(of)->attributes, next);
      }
      if (needed > room) return false;
      used += needed;
      return true;
    };
    bool room = offset >= 1 || add(".", id, 1, false);
    room = room && (offset >= 2 || add("..", dir.parent ? dir.parent : id, 2, false));
    for (auto it = dir.entries.upper_bound(static_cast<uint64_t>(offset)); room && it != dir.entries.end(); ++it)
      room = add(it->second.first, it->second.second, static_cast<off_t>(it->first), true);
  }
  fuse_reply_buf(req, buffer.data(), used);
}

void readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  list(req, id, size, offset, false);
}
void readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, fuse_file_info*) {
  list(req, id, size, offset, true);
}

void statfs(fuse_req_t req, fuse_ino_t) {
  struct statvfs space {};
  space.f_bsize = space.f_frsize = 4096;
  space.f_blocks = space.f_bfree = space.f_bavail = 1ull << 30;
  space.f_files = space.f_ffree = 1ull << 30;
  space.f_namemax = 255;
  fuse_reply_statfs(req, &space);
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops o{};
  o.init = init;
  o.lookup = lookup;
  o.forget = forget;
  o.forget_multi = forget_multi;
  o.getattr = getattr;
  o.setattr = setattr;
  o.mknod = mknod;
  o.mkdir = mkdir;
  o.symlink = symlink;
  o.create = create;
  o.readlink = readlink;
  o.link = link;
  o.unlink = unlink;
  o.rmdir = rmdir;
  o.rename = rename;
  o.open = no_open;
  o.opendir = no_open;
  o.read = read;
  o.write = write;
  o.fsync = fsync;
  o.fsyncdir = fsync;
  o.readdir = readdir;
  o.readdirplus = readdirplus;
  o.statfs = statfs;
  return o;
}

void serve(fuse_session* session) {
  fuse_buf request{};
  while (!fuse_session_exited(session)) {
    int n = fuse_session_receive_buf(session, &request);
    if (n == -EINTR || n == -EAGAIN) continue;
    if (n <= 0) break;
    fuse_session_process_buf(session, &request);
  }
  free(request.mem);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: null_fs DIR [THREADS]\n");
    return 2;
  }
  int threads = argc == 3 ? atoi(argv[2]) : 12;
  NullFs fs;
  const char* arguments[] = {"null_fs", "-o", "fsname=null,subtype=null,default_permissions,allow_other"};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(arguments));
  fuse_lowlevel_ops ops = operations();
  fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, &fs);
  if (!session || fuse_session_mount(session, argv[1]) != 0) return 1;
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < threads; ++i) workers.emplace_back([session] { serve(session); });
  }
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return 0;
}
