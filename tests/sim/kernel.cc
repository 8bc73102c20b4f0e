#include "tests/sim/kernel.h"

#include <algorithm>
#include <condition_variable>

#include "crypto/hash.h"

namespace coffer::sim {
namespace {

constexpr size_t kMostOpen = 6;
constexpr const char* kNames[] = {"a", "b", "c.txt", "d.txt", "e.db", "e.db-wal", "f", "g"};
constexpr const char* kAttributes[] = {"user.one", "user.two"};

std::string short_hash(const Hash& hash) { return hash.str().substr(0, 12); }

void overlay(Bytes& contents, uint64_t offset, BytesView bytes) {
  if (contents.size() < offset + bytes.size()) contents.resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), contents.begin() + static_cast<ptrdiff_t>(offset));
}

}  // namespace

Kernel::Kernel(World& world, Replica& replica, Synchronizer& sync, unsigned machine, std::string name)
    : world_(world), replica_(replica), sync_(sync), machine_(machine), name_(std::move(name)) {
  replica_.on_supersede([this](Ino ino, Ino keeper) {
    if (!nodes_.supersede(ino, keeper)) return false;
    if (keeper == ino) return true;
    nodes_.mark_unlinked(keeper);
    // Who removed it here, and goes on with what is nobody's but his, loses it when he closes it.
    (removed_.contains(ino) ? removed_ : keepers_).insert(keeper);
    return true;
  });
}

void Kernel::told(const std::string& what, const Result<void>& outcome) {
  ++world_.operations;
  world_.tell(name_ + ": " + what + (outcome ? "" : " -> " + std::string(to_string(outcome.error().code()))) +
              (dead_ ? " (dead)" : ""));
  if (outcome || dead_) return;
  const Code code = outcome.error().code();
  if (code == Code::kIo || code == Code::kCorrupt || code == Code::kInternal || code == Code::kNoSpace)
    give_up(name_ + ": " + what + ": " + outcome.error().what());
}

// --- what the kernel does

Kernel::NodeId Kernel::look_up(Ino ino) {
  for (;;)
    if (auto id = nodes_.acquire(ino, nodes_.ticket())) return *id;
}

void Kernel::forget(NodeId id) {
  if (auto ino = nodes_.release(id, 1)) replica_.forget(*ino);
}

Result<Ino> Kernel::writable(NodeId id) {
  Ino ino = nodes_.resolve(id).ino;
  TRY(Ino now, replica_.writable(ino));
  if (now != ino) {
    nodes_.rebind(ino, now);
    replica_.forget(ino);
  }
  return now;
}

void Kernel::unlinked(const model::Unlinked& what) {
  keepers_.erase(what.ino);
  if (what.last) removed_.insert(what.ino);
  if (what.last && !nodes_.mark_unlinked(what.ino)) replica_.forget(what.ino);
}

// Without waiting, also when the machine is offline: otherwise nobody could say what a change replaces.
void Kernel::bring_here(const std::vector<Missing>& missing) {
  for (const Missing& m : missing) {
    const FrameRef& frame = m.extent.frame;
    auto place = replica_.place_of(frame.pack);
    if (!place || !*place) give_up(name_ + ": no place is known of pack " + frame.pack.str());
    auto object = world_.store->find((*place)->key);
    if (!object) give_up(name_ + ": " + (*place)->key + ", which a file refers to, is not in the store");
    const uint64_t from = (*place)->offset + frame.offset;
    if (from > object->size() || frame.length > object->size() - from)
      give_up(name_ + ": " + (*place)->key + " is too short for a frame at " + std::to_string(from));
    BytesView sealed = BytesView(*object).subspan(from, frame.length);
    if (blake2b(sealed) != frame.hash)
      give_up(name_ + ": a frame of " + (*place)->key + " does not verify: pack " + frame.pack.str() + ", offset " +
              std::to_string(frame.offset));
    if (auto kept = replica_.keep_frame(frame, sealed); !kept) give_up(name_ + ": " + kept.error().what());
  }
}

Bytes Kernel::contents(Ino ino) {
  auto inode = replica_.attributes(ino);
  if (!inode) return {};
  Bytes out(inode->size);
  for (size_t at = 0; at < out.size();) {
    auto part = MutableBytes(out).subspan(at, std::min<size_t>(out.size() - at, 1 << 20));
    auto outcome = replica_.read(ino, at, part);
    if (!outcome) {
      if (dead_) return {};
      give_up(name_ + ": cannot read: " + outcome.error().what());
    }
    if (!outcome->missing.empty()) {
      bring_here(outcome->missing);
      continue;
    }
    if (outcome->bytes != part.size()) give_up(name_ + ": a read is shorter than the file");
    at += part.size();
  }
  return out;
}

template <typename Change>
Result<void> Kernel::change_contents(NodeId id, const char* what, const Change& change) {
  std::lock_guard lock(file_lock_);
  auto hold = replica_.hold_news();
  TRY(Ino ino, writable(id));
  const Bytes before = contents(ino);
  Bytes after = before;
  const Hash old = blake2b(before);
  auto outcome = change(ino, after, [&](const Bytes& now) { world_.versions.replacing(old, blake2b(now)); });
  if (outcome && !dead_ && contents(ino) != after) give_up(name_ + ": what was written is not what is read");
  told(std::string(what) + " " + std::to_string(ino) + " " + short_hash(old) + " > " + short_hash(blake2b(after)),
       outcome);
  return outcome;
}

// --- programs

std::string Kernel::some_name(Random& random) { return kNames[random.below(std::size(kNames))]; }

Bytes Kernel::some_bytes(Random& random, size_t most) {
  size_t size = 8 + random.below(random.chance(800) ? std::min<size_t>(most, 2000) : most);
  Bytes out((size + 7) / 8 * 8);
  for (size_t i = 0; i < out.size(); i += 8) {
    uint64_t word = random.next();
    std::memcpy(out.data() + i, &word, 8);
  }
  return out;
}

Kernel::Place Kernel::somewhere(Random& random, bool existing) {
  Place place;
  place.dir = model::kRootIno;
  for (;;) {
    auto entries = replica_.list(place.dir, 0, 1000);
    if (!entries || entries->empty()) {
      place.name = some_name(random);
      return place;
    }
    const auto& entry = (*entries)[random.below(entries->size())].entry;
    if (entry.type == model::FileType::kDirectory && random.chance(650)) {
      place.dir = entry.ino;
      continue;
    }
    if (existing || random.chance(300)) {
      place.name = entry.name;
      place.ino = entry.ino;
      place.type = entry.type;
      return place;
    }
    place.name = some_name(random);
    return place;
  }
}

void Kernel::close(Random& random, NodeId id) {
  // Some stay known, open or only cached.
  if (world_.options.has("hold") && !dead_ && random.chance(300)) {
    open_.emplace_back(id, "held");
    if (open_.size() <= kMostOpen) return;
    size_t which = random.below(open_.size());
    id = open_[which].first;
    open_.erase(open_.begin() + static_cast<ptrdiff_t>(which));
  }
  forget(id);
}

// The kernel keeps a directory's lookups and removals apart.
Result<Kernel::NodeId> Kernel::make(const Place& place, const model::NewInode& what) {
  std::lock_guard lock(file_lock_);
  auto node = replica_.make(place.dir, place.name, what);
  told("make " + place.name + " in " + std::to_string(place.dir),
       node ? Result<void>() : Result<void>(std::unexpected(node.error())));
  if (!node) return std::unexpected(node.error());
  return look_up(node->ino);
}

void Kernel::create(Random& random) {
  Place place = somewhere(random, false);
  model::NewInode what;
  what.mode = 0644;
  if (world_.options.has("directory") && random.chance(250)) {
    what.type = model::FileType::kDirectory;
    what.mode = 0755;
  } else if (random.chance(80)) {
    what.type = model::FileType::kSymlink;
    what.target = some_name(random);
  }
  auto made = make(place, what);
  if (!made) return;
  const NodeId id = *made;
  if (what.type != model::FileType::kRegular) return forget(id);
  write(random, id);
  if (random.chance(400)) fsync(id, place.name);
  close(random, id);
}

// As editors do: a new file beside it, and a rename over the old one.
void Kernel::save(Random& random) {
  Place place = somewhere(random, random.chance(800));
  if (place.type != model::FileType::kRegular) return;
  Place temporary = place;
  temporary.name = ".tmp" + std::to_string(random.below(1000));
  model::NewInode what;
  what.mode = 0600;
  auto made = make(temporary, what);
  if (!made) return;
  const NodeId id = *made;
  size_t pieces = world_.options.has("big") && random.chance(60) ? 1 + random.below(20) : 1;
  for (size_t i = 0; i < pieces; ++i) {
    (void)change_contents(id, "append", [&](Ino ino, Bytes& now, const auto& will_be) {
      Bytes more = some_bytes(random, pieces > 1 ? 120'000 : 3000);
      const size_t at = now.size();
      overlay(now, at, more);
      will_be(now);
      return replica_.write(ino, at, more, false);
    });
  }
  if (random.chance(700)) fsync(id, place.name);
  (void)rename(temporary, place, model::RenameMode::kReplace);
  close(random, id);
}

void Kernel::write(Random& random, NodeId id) {
  (void)change_contents(id, "write", [&](Ino ino, Bytes& now, const auto& will_be) -> Result<void> {
    Bytes bytes = some_bytes(random, random.chance(100) ? 60'000 : 3000);
    if (world_.options.has("truncate") && random.chance(300)) {
      now.clear();
      will_be(now);
      will_be(bytes);
      TRYV(replica_.truncate(ino, 0));
    }
    const uint64_t at = random.chance(300) ? 0 : random.chance(500) ? now.size() : random.below(now.size() + 1);
    overlay(now, at, bytes);
    will_be(now);
    return replica_.write(ino, at, bytes, false);
  });
}

void Kernel::cut(Random& random, NodeId id) {
  (void)change_contents(id, "cut", [&](Ino ino, Bytes& now, const auto& will_be) -> Result<void> {
    if (now.size() < 32) return {};
    // A crash would keep this and lose what was written before it: contents that nobody ever saw.
    TRYV(replica_.sync_file(ino));
    const uint64_t from = 16 + random.below(now.size() - 16);
    if (random.chance(500)) {
      now.resize(random.chance(800) ? from : now.size() + from);
      will_be(now);
      return replica_.truncate(ino, now.size());
    }
    const uint64_t length = std::min<uint64_t>(now.size() - from, 1 + random.below(5000));
    std::fill_n(now.begin() + static_cast<ptrdiff_t>(from), length, 0);
    will_be(now);
    return replica_.punch_hole(ino, from, length);
  });
}

void Kernel::copy(Random& random, NodeId id) {
  std::string name;
  auto source = open_somewhere(random, name);
  if (!source) return;
  (void)change_contents(id, "copy", [&](Ino ino, Bytes& now, const auto& will_be) -> Result<void> {
    const Ino from = nodes_.resolve(*source).ino;
    if (from == ino) return {};
    const Bytes bytes = contents(from);
    if (bytes.size() < 16) return {};
    TRYV(replica_.sync_file(ino));  // as in cut()
    overlay(now, 0, bytes);
    will_be(now);
    auto copied = replica_.copy_range(from, 0, ino, 0, bytes.size(), false);
    if (!copied) return std::unexpected(copied.error());
    return {};
  });
  forget(*source);
}

void Kernel::fsync(NodeId id, const std::string& name) {
  std::lock_guard lock(file_lock_);
  auto look = [&]() -> std::pair<Hash, bool> {
    auto hold = replica_.hold_news();
    const Ino ino = nodes_.resolve(id).ino;
    auto inode = replica_.attributes(ino);
    if (!inode || !inode->is_regular() || inode->size == 0) return {};
    return {blake2b(contents(ino)), inode->nlink > 0 || keepers_.contains(ino)};
  };
  auto [version, counts] = look();
  const Nanos when = world_.now();
  auto synced = replica_.sync_file(nodes_.resolve(id).ino);
  told("fsync " + name + " " + short_hash(version), synced);
  if (!synced || dead_ || !counts || !look().second) return;
  world_.versions.acknowledged(version, machine_, when, name);
}

// By the network, as programs do.
void Kernel::read(Random& random, NodeId id) {
  Bytes out(1 + random.below(100'000));
  for (int round = 0; round < 64; ++round) {
    auto outcome = [&] {
      auto hold = replica_.hold_news();
      return replica_.read(nodes_.resolve(id).ino, 0, out);
    }();
    if (!outcome || outcome->missing.empty()) {
      told("read", outcome ? Result<void>() : Result<void>(std::unexpected(outcome.error())));
      return;
    }
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<Result<void>> answer;
    sync_.fetch(outcome->missing, {}, [&](Result<void> r) {
      std::lock_guard lock(mutex);
      answer = std::move(r);
      answered.notify_all();
    });
    std::unique_lock lock(mutex);
    answered.wait(lock, [&] { return answer.has_value(); });
    if (*answer) continue;
    if (answer->error().code() == Code::kCorrupt) give_up(name_ + ": fetching: " + answer->error().what());
    told("read", *answer);
    return;
  }
}

Result<Kernel::NodeId> Kernel::open_somewhere(Random& random, std::string& name) {
  if (!open_.empty() && random.chance(350)) {
    const NodeId id = open_[random.below(open_.size())].first;
    name = "held";
    // One lookup more, so that nobody else's close takes it away.
    std::lock_guard lock(file_lock_);
    auto hold = replica_.hold_news();
    const Ino ino = nodes_.resolve(id).ino;
    if (nodes_.known(ino) == id) return look_up(ino);
  }
  Place place = somewhere(random, true);
  if (place.ino == 0 || place.type != model::FileType::kRegular) return fail(Code::kNotFound, "no file");
  name = place.name;
  std::lock_guard lock(file_lock_);
  auto hold = replica_.hold_news();
  TRY(model::Node node, replica_.lookup(place.dir, place.name));
  if (!node.inode.is_regular()) return fail(Code::kNotFound, "no file");
  return look_up(node.ino);
}

void Kernel::describe_file(Random& random, NodeId id) {
  auto hold = replica_.hold_news();
  const Ino ino = nodes_.resolve(id).ino;
  const char* attribute = kAttributes[random.below(std::size(kAttributes))];
  switch (random.below(3)) {
    case 0:
      told("set attribute", replica_.set_xattr(ino, attribute, some_bytes(random, 100), model::XattrMode::kAny));
      return;
    case 1:
      told("remove attribute", replica_.remove_xattr(ino, attribute));
      return;
    default: {
      model::SetAttributes what;
      what.mode = 0600 | static_cast<uint32_t>(random.below(64));
      if (random.chance(500)) what.mtime = WallTime{static_cast<int64_t>(random.below(1u << 30)) * 1'000'000'000};
      auto set = replica_.set_attributes(ino, what);
      told("set mode", set ? Result<void>() : Result<void>(std::unexpected(set.error())));
    }
  }
}

// What a name's removal removes is what is seen under it at that moment.
Result<void> Kernel::remove_name(const Place& place) {
  std::lock_guard lock(file_lock_);
  auto hold = replica_.hold_news();
  TRY(model::Node node, replica_.lookup(place.dir, place.name));
  if (node.inode.is_directory()) {
    TRY(model::Unlinked gone, replica_.rmdir(place.dir, place.name));
    unlinked(gone);
    return {};
  }
  const Hash version = node.inode.is_regular() ? blake2b(contents(node.ino)) : Hash{};
  world_.versions.removing(version);
  auto gone = replica_.unlink(place.dir, place.name);
  if (!gone) {
    world_.versions.kept(version);
    return std::unexpected(gone.error());
  }
  unlinked(*gone);
  return {};
}

Result<void> Kernel::rename(const Place& from, const Place& to, model::RenameMode mode) {
  std::lock_guard lock(file_lock_);
  auto hold = replica_.hold_news();
  Hash version;
  if (mode == model::RenameMode::kReplace) {
    auto target = replica_.lookup(to.dir, to.name);
    auto source = replica_.lookup(from.dir, from.name);
    if (target && source && target->ino != source->ino && target->inode.is_regular())
      version = blake2b(contents(target->ino));
  }
  world_.versions.removing(version);
  auto gone = replica_.rename(from.dir, from.name, to.dir, to.name, mode);
  if (!gone) world_.versions.kept(version);
  Result<void> outcome = gone ? Result<void>() : Result<void>(std::unexpected(gone.error()));
  told("rename " + from.name + " in " + std::to_string(from.dir) + " to " + to.name + " in " + std::to_string(to.dir),
       outcome);
  if (gone && *gone) unlinked(**gone);
  return outcome;
}

void Kernel::move(Random& random) {
  Place from = somewhere(random, true);
  if (from.ino == 0) return;
  auto mode = random.chance(100)   ? model::RenameMode::kExchange
              : random.chance(200) ? model::RenameMode::kNoReplace
                                   : model::RenameMode::kReplace;
  (void)rename(from, somewhere(random, mode == model::RenameMode::kExchange), mode);
}

void Kernel::remove(Random& random) {
  Place place = somewhere(random, true);
  if (place.ino == 0) return;
  told("remove " + place.name + " in " + std::to_string(place.dir), remove_name(place));
}

void Kernel::step(Random& random) {
  const Options& options = world_.options;
  const uint64_t dice = random.below(100);
  if (dice < 18) return create(random);
  if (dice < 30) return options.has("rename") ? save(random) : create(random);
  if (dice < 38) return options.has("rename") ? move(random) : void();
  if (dice < 48) return options.has("remove") ? remove(random) : void();
  if (dice < 50) return told("sync", replica_.sync_all(true));
  std::string name;
  auto id = open_somewhere(random, name);
  if (!id) return;
  if (dice < 70) {
    write(random, *id);
    if (random.chance(350)) fsync(*id, name);
  } else if (dice < 78) {
    fsync(*id, name);
  } else if (dice < 84) {
    read(random, *id);
  } else if (dice < 87 && options.has("truncate")) {
    cut(random, *id);
  } else if (dice < 90) {
    copy(random, *id);
  } else if (dice < 95 && options.has("link")) {
    Place place = somewhere(random, false);
    std::lock_guard lock(file_lock_);
    auto hold = replica_.hold_news();
    auto node = replica_.link(nodes_.resolve(*id).ino, place.dir, place.name);
    told("link " + place.name, node ? Result<void>() : Result<void>(std::unexpected(node.error())));
  } else if (options.has("xattr")) {
    describe_file(random, *id);
  }
  close(random, *id);
}

void Kernel::unmount() {
  for (auto& [id, name] : open_) forget(id);
  open_.clear();
  for (Ino ino : nodes_.take_unlinked()) replica_.forget(ino);
}

std::string Kernel::tree(std::set<Hash>* live) {
  std::string out;
  std::vector<std::pair<std::string, Ino>> todo = {{"", model::kRootIno}};
  while (!todo.empty()) {
    auto [path, dir] = todo.back();
    todo.pop_back();
    auto entries = replica_.list_nodes(dir, 0, 100'000);
    if (!entries) give_up(name_ + ": cannot list: " + entries.error().what());
    std::sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    for (const auto& e : *entries) {
      const model::Inode& inode = e.node.inode;
      std::string line = path + "/" + e.name + " ino " + std::to_string(e.node.ino) + " mode " +
                         std::to_string(inode.mode) + " links " + std::to_string(inode.nlink);
      if (inode.is_directory()) {
        todo.emplace_back(path + "/" + e.name, e.node.ino);
      } else if (inode.is_regular()) {
        const Hash version = blake2b(contents(e.node.ino));
        if (live) live->insert(version);
        line += " size " + std::to_string(inode.size) + " mtime " + std::to_string(inode.mtime.ns) + " contents " +
                short_hash(version);
      } else {
        line += " target " + inode.target;
      }
      auto attributes = replica_.list_xattrs(e.node.ino);
      if (!attributes) give_up(name_ + ": cannot list attributes");
      for (const model::Xattr& a : *attributes) line += " " + a.name + "=" + short_hash(blake2b(a.value));
      out += line + "\n";
    }
  }
  return out;
}

}  // namespace coffer::sim
