#include "tests/model/machine.h"

#include <algorithm>
#include <sstream>

#include "crypto/hash.h"
#include "tests/model/in_words.h"

namespace coffer::model {
namespace {

// Texts by the frame that stands for them; frames of equal texts written by one machine are still different frames.
std::map<Hash, std::string>& texts() {
  static std::map<Hash, std::string> map;
  return map;
}

}  // namespace

Machine::Machine(unsigned id)
    : id_(id),
      touched_(std::make_unique<Touched>(1)),
      ino_base_((0x1000ull + id) << 24),
      version_base_((0xabc0000ull + id) << 32),
      time_(1'700'000'000'000'000'000 + id) {}

Machine::Machine(const Machine& other, unsigned id) : Machine(id) {
  rows_ = other.rows_;
  first_pending_ = other.first_pending_;
  open_ = other.open_;
  touched_ = std::make_unique<Touched>(*other.touched_);
  applied_ = other.applied_;
  waiting_ = other.waiting_;
  seen_ = other.seen_;
  stamp_ = other.stamp_;
  for (Ino ino : other.open_orphans)
    must(run([&](Rows& rows) -> Result<void> {
      auto inode = get_inode(rows, ino);
      if (!inode || inode->nlink != 0) return {};
      return erase_inode(rows, ino, true);
    }));
}

std::pair<Ino, std::string> Machine::parent_of(const std::string& path) const {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {kRootIno, path};
  return {at(path.substr(0, slash)), path.substr(slash + 1)};
}

Ino Machine::at(const std::string& path) const {
  Ino ino = kRootIno;
  std::istringstream in(path);
  for (std::string part; std::getline(in, part, '/');) {
    Result<Node> node = lookup(rows_, ino, part);
    if (!node) return 0;
    ino = node->ino;
  }
  return ino;
}

Ino Machine::make(const std::string& path, FileType type) {
  auto [dir, name] = parent_of(path);
  NewInode what;
  what.type = type;
  what.mode = 0644;
  if (type == FileType::kSymlink) what.target = "target of " + name;
  Node node = must(run([&, d = dir, n = name](Rows& rows) {
    return model::make(rows, d, n, what, fresh_ino(), fresh_version(), now());
  }));
  made_pending_.insert(node.ino);
  return node.ino;
}

void Machine::make_any(Ino dir, const std::string& name, const NewInode& what) {
  auto r = run([&](Rows& rows) { return model::make(rows, dir, name, what, fresh_ino(), fresh_version(), now()); });
  if (r) made_pending_.insert(r->ino);
}

Ino Machine::symlink(const std::string& path, const std::string& target) {
  auto [dir, name] = parent_of(path);
  NewInode what;
  what.type = FileType::kSymlink;
  what.target = target;
  Node node = must(run([&, d = dir, n = name](Rows& rows) {
    return model::make(rows, d, n, what, fresh_ino(), fresh_version(), now());
  }));
  made_pending_.insert(node.ino);
  return node.ino;
}

Extent Machine::extent(const std::string& text, uint64_t offset) {
  Extent e;
  e.offset = offset;
  e.length = e.frame_length = static_cast<uint32_t>(text.size());
  e.frame.pack.bytes[0] = static_cast<uint8_t>(id_);
  e.frame.offset = static_cast<uint32_t>(++counter_) * 1000;
  e.frame.length = e.length + 40;
  Bytes seed;
  Writer w(seed);
  w.u64(id_);
  w.u64(counter_);
  e.frame.hash = blake2b(seed);
  texts()[e.frame.hash] = text;
  return e;
}

void Machine::seal_anew(Ino ino) {
  const Inode inode = must(get_inode(rows_, ino));
  Extents all = must(extents(rows_, ino, 0, kSizeMax));
  if (all.empty() || inode.nlink == 0) return;
  std::map<FrameRef, FrameRef> fresh;
  for (Extent& e : all) {
    auto [it, first] = fresh.try_emplace(e.frame);
    if (first) it->second = extent(texts()[e.frame.hash], 0).frame;
    e.frame = it->second;
  }
  must(run([&](Rows& rows) { return put_extents(rows, ino, all, 0, inode.version, now(), true); }));
}

void Machine::write(const std::string& path, const std::string& text, uint64_t offset) {
  write(at(path), text, offset);
}

void Machine::write(Ino ino, const std::string& text, uint64_t offset) {
  Extent e = extent(text, offset);
  must(run([&](Rows& rows) { return put_extents(rows, ino, {&e, 1}, 0, fresh_version(), now(), false); }));
}

void Machine::truncate(const std::string& path, uint64_t size) {
  must(run([&](Rows& rows) { return model::truncate(rows, at(path), size, fresh_version(), now()); }));
}

void Machine::erase(Ino ino) {
  must(run([&](Rows& rows) { return erase_inode(rows, ino, !made_pending_.contains(ino)); }));
}

void Machine::remove(const std::string& path) {
  Ino ino = remove_open(path);
  if (ino != 0) close(ino);
}

// The inode when that was its last link.
Ino Machine::remove_open(const std::string& path) {
  auto [dir, name] = parent_of(path);
  Unlinked u = must(run([&, d = dir, n = name](Rows& rows) -> Result<Unlinked> {
    TRY(Node node, lookup(rows, d, n));
    return node.inode.is_directory() ? model::rmdir(rows, d, n, now()) : model::unlink(rows, d, n, now());
  }));
  if (!u.last) return 0;
  open_orphans.insert(u.ino);
  return u.ino;
}

void Machine::close(Ino ino) {
  if (open_orphans.erase(ino) == 0) return;
  erase(ino);
}

void Machine::rename(const std::string& from, const std::string& to, RenameMode mode) {
  auto [dir, name] = parent_of(from);
  auto [new_dir, new_name] = parent_of(to);
  auto replaced = must(run([&, d = dir, n = name, nd = new_dir, nn = new_name](Rows& rows) {
    return model::rename(rows, d, n, nd, nn, mode, now());
  }));
  if (replaced && replaced->last) erase(replaced->ino);
}

void Machine::link(const std::string& from, const std::string& to) {
  auto [dir, name] = parent_of(to);
  must(run([&, d = dir, n = name](Rows& rows) { return model::link(rows, at(from), d, n, now()); }));
}

void Machine::chmod(const std::string& path, uint32_t mode) {
  SetAttributes what;
  what.mode = mode;
  must(run([&](Rows& rows) { return set_attributes(rows, at(path), what, now()); }));
}

void Machine::set_xattr(const std::string& path, const std::string& name, const std::string& value) {
  must(
      run([&](Rows& rows) { return model::set_xattr(rows, at(path), name, as_bytes(value), XattrMode::kAny, now()); }));
}

std::string Machine::read(const std::string& path) const {
  Ino ino = at(path);
  return ino == 0 ? "(nothing)" : read(ino);
}

std::string Machine::read(Ino ino) const {
  std::string out;
  uint64_t done = 0;
  auto add = [&](const std::string& s) { out += (out.empty() ? "" : "|") + s; };
  for (const Extent& e : must(extents(rows_, ino, 0, kSizeMax))) {
    if (e.offset > done) add("-");
    add(texts()[e.frame.hash].substr(e.skip, e.length));
    done = e.end();
  }
  if (must(get_inode(rows_, ino)).size > done) add("-");
  return out;
}

std::vector<std::string> Machine::names(const std::string& path) const {
  std::vector<std::string> out;
  for (ListedEntry& e : must(list(rows_, at(path), 0, SIZE_MAX))) out.push_back(std::move(e.entry.name));
  std::sort(out.begin(), out.end());
  return out;
}

void Machine::freeze() {
  if (touched_->size() == 0) return;
  touched_ = std::make_unique<Touched>(++open_);
  made_pending_.clear();  // what is cut off may be published any moment
}

std::optional<Record> Machine::publish(const std::function<void()>& meanwhile) {
  freeze();
  const Generation first = first_pending_, last = open_ - 1;
  if (meanwhile) meanwhile();
  if (first > last) return std::nullopt;
  ChangeSet changes = must(diff(rows_, first, last, touched_.get()));
  if (changes.empty()) return std::nullopt;  // they stay pending: rows may have changed that are nobody else's business
  first_pending_ = last + 1;
  // What others get has been through the wire.
  Bytes wire;
  Writer out(wire);
  encode(changes, out);
  Reader in(wire);
  Record r;
  r.changes = must(decode_change_set(in));
  EXPECT_TRUE(in.at_end());
  EXPECT_EQ(r.changes, changes);
  r.stamp = ++stamp_;
  r.log = id_;
  r.number = ++number_;
  r.seen = seen_;
  seen_[id_] = number_;
  Bytes seed;
  Writer w(seed);
  w.u64(id_);
  w.u64(r.number);
  r.author.record = blake2b(seed);
  r.author.device = "host" + std::to_string(id_);
  r.author.when = now();
  must(settle(rows_, first, last, touched_.get(), r.changes));
  check_published(r, first, last);
  applied_.push_back({r, first, last});
  return r;
}

void Machine::receive(const std::vector<Record>& news) {
  waiting_.insert(waiting_.end(), news.begin(), news.end());
  std::sort(waiting_.begin(), waiting_.end(), [](const Record& a, const Record& b) { return a.before(b); });
  std::vector<Record> order;
  for (bool found = true; found;) {
    found = false;
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      bool ready = it->number <= seen_[it->log] + 1;
      for (auto& [log, number] : it->seen) ready &= log == id_ || number <= seen_[log];
      if (!ready) {
        ++it;
        continue;
      }
      if (it->number > seen_[it->log]) {
        seen_[it->log] = it->number;
        order.push_back(*it);
        found = true;
      }
      it = waiting_.erase(it);
    }
  }
  if (order.empty()) return;
  std::sort(order.begin(), order.end(), [](const Record& a, const Record& b) { return a.before(b); });
  for (const Record& r : order) stamp_ = std::max(stamp_, r.stamp);

  std::vector<Orphan> orphans;
  for (Ino ino : open_orphans)
    if (auto o = must(lift_orphan(rows_, ino))) orphans.push_back(std::move(*o));
  ChangeSet pending = must(diff(rows_, first_pending_, open_, nullptr));
  for (Generation g = open_ + 1; g-- > first_pending_;) must(undo(rows_, g));
  while (!applied_.empty() && !applied_.back().record.before(order.front())) {
    for (Generation g = applied_.back().last + 1; g-- > applied_.back().first;) must(undo(rows_, g));
    order.push_back(applied_.back().record);
    applied_.pop_back();
  }
  std::sort(order.begin(), order.end(), [](const Record& a, const Record& b) { return a.before(b); });
  conflicts_.clear();
  for (const Record& r : order) {
    touched_ = std::make_unique<Touched>(++open_);
    Applied a = must(run([&](Rows& rows) { return apply(rows, r.changes, r.author); }));
    conflicts_.insert(conflicts_.end(), a.conflicts.begin(), a.conflicts.end());
    applied_.push_back({r, open_, open_});
  }
  touched_ = std::make_unique<Touched>(++open_);
  first_pending_ = open_;
  Author self;
  self.record = blake2b(as_bytes("pending " + std::to_string(id_) + " " + std::to_string(++counter_)));
  self.device = "host" + std::to_string(id_);
  self.when = now();
  if (!pending.empty()) must(run([&](Rows& rows) { return apply(rows, pending, self); }));
  for (const Orphan& o : orphans) {
    bool back = must(run([&](Rows& rows) { return put_orphan(rows, o); }));
    if (!back) open_orphans.erase(o.ino);
  }
}

void Machine::forget_applied() {
  if (applied_.empty()) return;
  must(forget(rows_, applied_.back().last));
  for (const AppliedRecord& a : applied_)
    for (Generation g = a.first; g <= a.last; ++g) must(drop_history(rows_, g));
  applied_.clear();
}

std::vector<Record> Machine::applied() const {
  std::vector<Record> out;
  for (const AppliedRecord& a : applied_) out.push_back(a.record);
  return out;
}

std::string Machine::describe() const {
  std::string out;
  std::function<void(Ino, std::string)> walk = [&](Ino dir, std::string path) {
    std::vector<ListedEntry> entries = must(list(rows_, dir, 0, SIZE_MAX));
    std::sort(entries.begin(), entries.end(),
              [](const ListedEntry& a, const ListedEntry& b) { return a.entry.name < b.entry.name; });
    for (const ListedEntry& e : entries) {
      Inode i = must(get_inode(rows_, e.entry.ino));
      std::ostringstream line;
      line << path << e.entry.name << " ino " << std::hex << e.entry.ino << " v " << i.version << std::dec << " mode "
           << std::oct << i.mode << std::dec << " nlink " << i.nlink << " size " << i.size << " m " << i.mtime.ns
           << " c " << i.ctime.ns << " a " << i.atime.ns;
      for (const Xattr& x : must(list_xattrs(rows_, e.entry.ino))) line << " " << x.name << "=" << x.value.size();
      if (i.origin != 0) line << " copy of " << std::hex << i.origin << std::dec;
      if (i.is_regular()) line << " = " << read(e.entry.ino);
      out += line.str() + "\n";
      if (i.is_directory()) walk(e.entry.ino, path + e.entry.name + "/");
    }
  };
  walk(kRootIno, "/");
  return out;
}

void Machine::check() const {
  std::vector<std::string> faults = must(find_faults(rows_));
  for (const std::string& f : faults) ADD_FAILURE() << "machine " << id_ << ": " << f;
  check_no_strays();
  // And every N row leads to an entry, which find_faults cannot walk.
  const std::string prefix = kind_prefix(RowKind::kName);
  for (auto it = rows_.rows.lower_bound(prefix); it != rows_.rows.end() && it->first.starts_with(prefix); ++it) {
    Ino dir = must(parse_first(RowKind::kName, it->first));
    auto row = must(rows_.get(entry_key(dir, must(decode_number(it->second)))));
    ASSERT_TRUE(row) << "a name of " << dir << " leads to no entry";
    EXPECT_EQ(must(decode_entry(*row)).name, it->first.substr(9));
  }
}

void Machine::check_published(const Record& r, Generation first, Generation last) const {
  MapRows rows = rows_;
  must(undo(rows, open_));
  const std::set<std::string> mine = in_words(rows);
  for (Generation g = last + 1; g-- > first;) must(undo(rows, g));
  Touched touched(open_ + 1);
  Transaction tx(rows, touched);
  Applied applied = must(apply(tx, r.changes, r.author));
  EXPECT_TRUE(applied.conflicts.empty());
  rows.apply(must(tx.take()));
  const std::set<std::string> theirs = in_words(rows);
  if (mine == theirs) return;
  std::string out;
  for (const std::string& l : mine)
    if (!theirs.contains(l)) out += "- " + l + "\n";
  for (const std::string& l : theirs)
    if (!mine.contains(l)) out += "+ " + l + "\n";
  ADD_FAILURE() << "record " << r.number << " of machine " << id_ << " left here (-) what others do not have (+):\n"
                << out;
}

// Every row is one that another leads to.
void Machine::check_no_strays() const {
  std::set<std::string> wanted;
  auto want = [&](const RowKey& key) { wanted.insert(key.bytes); };
  auto want_extents = [&](Ino ino, const Inode& root) {
    if (!root.is_regular() || root.only) return;
    FileExtents map(rows_, ino, root);
    for (uint64_t from = 0;;) {
      auto c = must(map.next_chunk(from));
      if (!c) break;
      want(chunk_key(ino, *c));
      if (root.blocks) want(block_key(ino, *c / kBlock));
      from = *c + 1;
    }
  };
  for (auto& [key, value] : rows_.rows) {
    const RowKind kind = *kind_of(key);
    if (kind == RowKind::kInode) {
      Ino ino = must(parse_first(kind, key));
      Inode i = must(decode_inode(value));
      want_extents(ino, i);
      if (i.has_xattrs) want(xattr_key(ino));
    } else if (kind == RowKind::kTombstone) {
      Ino ino = must(parse_first(kind, key));
      if (!must(rows_.get(inode_key(ino)))) want_extents(ino, must(decode_tombstone(value)).inode);
    } else if (kind == RowKind::kDisplaced) {
      FileVersion v = must(parse_displaced_key(key));
      for (const Run& r : must(decode_displaced(value)).elsewhere)
        for (uint64_t c = r.first; c < r.end(); ++c) want(displaced_chunk_key(v.ino, v.version, c));
    }
  }
  for (auto& [key, value] : rows_.rows) {
    const RowKind kind = *kind_of(key);
    if (kind == RowKind::kExtents || kind == RowKind::kBitmap || kind == RowKind::kXattrs ||
        kind == RowKind::kDisplacedExtents) {
      EXPECT_TRUE(wanted.contains(key)) << "a stray row of kind " << key[0] << " on machine " << id_ << ", of "
                                        << must(parse_first(kind, key));
    }
  }
}

void exchange(std::vector<Machine*> machines, std::vector<Record>& all) {
  for (int round = 0; round < 3; ++round) {
    for (Machine* m : machines)
      if (auto r = m->publish()) all.push_back(*r);
    for (Machine* m : machines) m->receive(all);
  }
}

}  // namespace coffer::model
