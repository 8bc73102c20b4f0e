#include "fs/check/data_check.h"

#include <algorithm>

#include "cache/pack_store.h"
#include "crypto/hash.h"
#include "fs/check/paths.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/parallel.h"

namespace coffer {
namespace {

constexpr char kTodo[] =
    "The files can be read only where they are cached. `coffer check --repair` on a device that still has all of the "
    "pack "
    "puts it back; else restore the object from an earlier copy of the store.";

}  // namespace

Result<void> DataCheck::survey(const std::set<std::string>& good_records) {
  TRYV(visit_files(
      state_, c_.options.stop,
      [this](Ino ino, std::span<const model::Extent> extents) -> Result<void> {
        for (const model::Extent& e : extents)
          refs_[e.frame.pack].push_back({e.frame.offset, e.frame.length, e.frame_length, e.frame.hash, ino});
        return {};
      },
      &files_));
  return place_packs(good_records);
}

Result<void> DataCheck::place_packs(const std::set<std::string>& good_records) {
  for (auto& [id, refs] : refs_) {
    TRY(auto place, state_.place_of(id));
    std::set<Ino> files;
    for (const Ref& r : refs) files.insert(r.ino);
    Pack pack{id, place ? *place : PackPlace{pack_key(id), 0, 0}, std::move(refs)};
    needed_.insert(pack.place.key);
    files_in_[pack.place.key].insert(files.begin(), files.end());
    auto outside = [&](const Ref& r) { return uint64_t{r.offset} + r.length > pack.place.size; };
    if (!place) {
      report(Trouble::kMissing, pack, "is needed, and nothing says where it is", files);
    } else if (!c_.has(place->key)) {
      // A record that is missing in a log was told already.
      report(Trouble::kMissing, pack,
             place->key == pack_key(id) ? "is not there" : "was inside a record that is not there", files);
    } else if (std::ranges::any_of(pack.refs, outside)) {
      report(Trouble::kForged, pack, "is shorter than what files refer to", files);
    } else if (place->key == pack_key(id)) {
      packs_.push_back(std::move(pack));
    } else if (!good_records.contains(place->key)) {
      continue;  // reported, and gets its paths by files_in()
    }
  }
  refs_.clear();
  for (const Pack& p : packs_)
    if (chosen(p.id)) total_ += p.place.size;
  return {};
}

bool DataCheck::chosen(const ObjectId& pack) const {
  if (c_.options.sample >= 100) return true;
  Bytes text;
  Writer w(text);
  w.u64(c_.options.seed);
  w.id(pack);
  const Hash h = blake2b(text);
  return (h.bytes[0] << 8 | h.bytes[1]) % 100 < static_cast<int>(c_.options.sample);
}

Result<void> DataCheck::read_packs() {
  std::vector<const Pack*> chosen_packs;
  for (const Pack& p : packs_)
    if (chosen(p.id)) chosen_packs.push_back(&p);
  // At least one, whatever the sample.
  if (chosen_packs.empty() && !packs_.empty() && c_.options.sample > 0) {
    chosen_packs.push_back(&packs_[c_.options.seed % packs_.size()]);
    total_ += chosen_packs.front()->place.size;
  }
  Mutex failure_mutex{Rank::kLeaf};
  std::optional<Error> failure;
  in_parallel("coffer-check", chosen_packs.size(), c_.options.threads, [&](size_t i) {
    auto done = read(*chosen_packs[i]);
    if (done) return true;
    MutexLock lock(failure_mutex);
    if (!failure) failure = done.error();
    return false;
  });
  if (failure) return fail(*failure);
  return {};
}

Result<void> DataCheck::read(const Pack& pack) {
  const std::string& key = pack.place.key;
  const uint64_t size = pack.place.size;
  std::set<Ino> all;
  for (const Ref& r : pack.refs) all.insert(r.ino);
  bool sound = c_.options.verified.contains(pack.id);
  if (!sound) {
    uint64_t listed = c_.objects.at(key);
    TRY(std::optional<Bytes> object, c_.get(key, std::max(listed, size), [&](const Error& e) {
      report(e.code() == Code::kNotFound ? Trouble::kMissing : Trouble::kDamaged, pack, "cannot be read: " + e.what(),
             all);
    }));
    if (object) {
      std::set<Ino> touched;
      uint64_t bad = 0;
      for (const Ref& r : pack.refs) {
        if (uint64_t{r.offset} + r.length <= object->size() &&
            blake2b(BytesView(*object).subspan(r.offset, r.length)) == r.hash)
          continue;
        ++bad;
        touched.insert(r.ino);
      }
      auto fault = faults_of(pack, *object);
      if (!fault && bad > 0) fault.emplace(Trouble::kDamaged, "does not hold what was signed");
      if (fault) {
        std::string frames = bad == 0 ? "; all frames that files need are whole"
                                      : "; " + std::to_string(bad) + " of " + std::to_string(pack.refs.size()) +
                                            " frames that files need are not what was signed";
        report(fault->first, pack, fault->second + frames, touched);
      }
      sound = !fault;
    }
    ++packs_read_;
  }
  MutexLock lock(mutex_);
  done_ += size;
  if (sound && c_.options.on_verified) c_.options.on_verified(pack.id);
  if (c_.options.progress) c_.options.progress({done_, total_});
  return {};
}

std::optional<std::pair<Trouble, std::string>> DataCheck::faults_of(const Pack& pack, BytesView object) const {
  const uint64_t size = pack.place.size;
  auto index = read_pack_index(object, pack.id, c_.volume, c_.key_ring);
  if (index && object.size() == size) {
    for (const IndexEntry& e : *index)
      if (blake2b(object.subspan(e.frame.offset, e.frame.length)) != e.frame.hash)
        return std::pair(Trouble::kDamaged, std::string("does not hold what its index says"));
    return std::nullopt;
  }
  if (index) return std::pair(Trouble::kDamaged, std::string("has another size than was signed"));
  if (index.error().code() == Code::kTooNew) return std::pair(Trouble::kTooNew, index.error().what());
  for (const Pack& other : packs_)
    if (other.id != pack.id && read_pack_index(object, other.id, c_.volume, c_.key_ring))
      return std::pair(Trouble::kExchanged, "is not there: the object is " + pack_key(other.id));
  if (object.size() < size)
    return std::pair(Trouble::kCutOff, "is cut off: " + std::to_string(object.size()) + " of " + std::to_string(size) +
                                           " bytes are there");
  if (object.size() > size) return std::pair(Trouble::kDamaged, std::string("is longer than what was signed"));
  return std::pair(Trouble::kDamaged, std::string("has an index that does not open"));
}

void DataCheck::report(Trouble trouble, const Pack& pack, const std::string& why, const std::set<Ino>& touched) {
  Damage damage{trouble, "pack", pack.place.key, "pack " + pack.id.str().substr(0, 8) + "... " + why, kTodo, {}};
  for (Ino ino : touched) {
    if (damage.paths.size() >= kPathsTold)
      ++damage.more_paths;
    else if (auto path = path_of(state_, ino))
      damage.paths.push_back(std::move(*path));
  }
  if (touched.empty())
    damage.todo = "No file is damaged by it. `coffer check --repair` can put the pack back as it was.";
  c_.report(std::move(damage));
}

std::set<Ino> DataCheck::files_in(const std::string& key) const {
  auto it = files_in_.find(key);
  return it == files_in_.end() ? std::set<Ino>() : it->second;
}

}  // namespace coffer
