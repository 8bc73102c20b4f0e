#include "fs/sync/archived_logs.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "fs/sync/parallel.h"

namespace coffer {

namespace {

// Records are read in their order by who reads many, and lie in it in archives.
constexpr size_t kPieceSize = 1 << 20, kPiecesMost = 8;
constexpr unsigned kThreads = 4;

std::vector<RecordName> record_names(const std::vector<ObjectInfo>& found) {
  std::vector<RecordName> out;
  for (const ObjectInfo& info : found)
    if (auto name = parse_record_key(info.key)) out.push_back(*name);
  std::ranges::sort(out);
  return out;
}

// Whether there is a record of each number of a log up to the last.
bool without_gaps(const std::vector<ObjectInfo>& found) {
  uint64_t last = 0;
  for (const RecordName& name : record_names(found)) {
    if (name.number > last + 1) return false;
    last = name.number;
  }
  return last > 0;
}

// What may be otherwise in a moment; the rest is no reason to go without all other records, too.
bool is_passing(const Error& error) { return error.retryable() || error.code() == Code::kCancelled; }

}  // namespace

std::vector<ArchivedLogs::Place> ArchivedLogs::places(const RecordName& name) const {
  std::vector<Place> out;
  MutexLock lock(mutex_);
  for (const auto& [id, known] : known_) {
    const ArchivedRecord* record = known.archive->index.find(name);
    if (!record) continue;
    const size_t at = static_cast<size_t>(record - known.archive->index.records.data());
    out.push_back({known.archive, *record, known.alone[at]});
  }
  return out;
}

// Null: it cannot be used. An error: that is not known now.
Result<std::shared_ptr<const ArchivedLogs::Archive>> ArchivedLogs::open(const ObjectId& id, uint64_t size,
                                                                        const std::stop_token& stop) {
  auto refuse = [&](const std::string& why) {
    log_line(LogLevel::kWarning, "the archive of records " + id.str().substr(0, 8) + "... cannot be used: " + why);
    return std::shared_ptr<const Archive>();
  };
  if (auto kept = memory_.find ? memory_.find(id) : std::nullopt)
    if (auto index = decode_archive_index(id, *kept); index && index->object_size == size)
      return std::make_shared<const Archive>(Archive{id, std::move(*index)});
  if (size > kArchiveMax) return std::shared_ptr<const Archive>();
  const std::string key = archive_key(id);
  Result<Bytes> beginning = store_.get_range(key, 0, kArchiveFirstRead, stop);
  if (beginning)
    if (auto needed = archive_index_size(*beginning); needed && *needed > beginning->size())
      beginning = store_.get_range(key, 0, *needed, stop);
  if (!beginning && beginning.error().code() == Code::kNotFound) return std::shared_ptr<const Archive>();
  if (!beginning && is_passing(beginning.error())) return fail(beginning.error());
  if (!beginning) return refuse(beginning.error().what());
  auto index = decode_archive_index(id, *beginning);
  if (!index) return refuse(index.error().what());
  if (index->object_size != size) return refuse("it is cut off, or longer than it says");
  if (memory_.keep) memory_.keep(id, BytesView(*beginning).first(*archive_index_size(*beginning)));
  return std::make_shared<const Archive>(Archive{id, std::move(*index)});
}

Result<void> ArchivedLogs::take_archives(const std::vector<ObjectInfo>& found, const std::stop_token& stop) {
  std::map<ObjectId, uint64_t> listed;
  for (const ObjectInfo& info : found)
    if (auto id = parse_archive_key(info.key)) listed.emplace(*id, info.size);
  std::vector<ObjectId> gone, changed;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, known] : known_) {
      auto there = listed.find(id);
      if (there == listed.end())
        gone.push_back(id);
      else if (there->second == known.archive->index.object_size)
        listed.erase(there);
      else
        changed.push_back(id);  // to be opened anew
    }
  }
  // A listing may show late what a former one has shown, so it is asked for by name.
  for (auto it = gone.begin(); it != gone.end();) {
    auto there = store_.get_range(archive_key(*it), 0, 1, stop);
    const bool missing = !there && there.error().code() == Code::kNotFound;
    if (!there && !missing && is_passing(there.error())) return fail(there.error());
    it = missing ? it + 1 : gone.erase(it);
  }
  const std::vector<std::pair<ObjectId, uint64_t>> fresh(listed.begin(), listed.end());
  std::vector<std::optional<Result<std::shared_ptr<const Archive>>>> opened(fresh.size());
  in_parallel("coffer-archives", fresh.size(), kThreads, [&](size_t i) {
    opened[i] = open(fresh[i].first, fresh[i].second, stop);
    return opened[i]->has_value();
  });
  for (auto& archive : opened)
    if (archive && !*archive) return fail(archive->error());
  for (const ObjectId& id : gone)
    if (memory_.forget) memory_.forget(id);
  MutexLock lock(mutex_);
  for (const std::vector<ObjectId>& former : {gone, changed})
    for (const ObjectId& id : former) known_.erase(id);
  for (auto& archive : opened)
    if (archive && **archive)
      known_.try_emplace((**archive)->id, Known{**archive, std::vector<bool>((**archive)->index.records.size())});
  return {};
}

Result<void> ArchivedLogs::look_for_archives(const std::stop_token& stop) {
  {
    MutexLock lock(mutex_);
    const uint64_t before = looks_;
    while (looking_) looked_.wait(mutex_);
    if (looks_ > before) return {};
    looking_ = true;
  }
  auto look = [&]() -> Result<void> {
    TRY(std::vector<ObjectInfo> found, store_.list(kArchivePrefix, stop));
    return take_archives(found, stop);
  };
  Result<void> outcome = look();
  MutexLock lock(mutex_);
  looking_ = false;
  if (outcome) ++looks_;
  looked_.notify_all();
  return outcome;
}

Result<ArchivedLogs::Listing> ArchivedLogs::look(std::stop_token stop) {
  Listing out;
  TRY(out.objects, store_.list(kLogPrefix, stop));
  TRYV(take_archives(out.objects, stop));
  const std::vector<RecordName> names = record_names(out.objects);
  MutexLock lock(mutex_);
  for (auto& [id, known] : known_) {
    const std::vector<ArchivedRecord>& records = known.archive->index.records;
    for (size_t i = 0; i < records.size(); ++i) known.alone[i] = !std::ranges::binary_search(names, records[i].name);
    out.archives.push_back(known.archive);
  }
  // Who reads much does so soon after this; nobody needs what former readers have left.
  std::erase_if(pieces_, [](const auto& piece) { return piece.second.bytes != nullptr; });
  return out;
}

// Of one log, or of all.
void ArchivedLogs::add_archived(std::vector<ObjectInfo>& found, const std::optional<LogId>& log) const {
  const std::vector<RecordName> names = record_names(found);
  std::vector<std::pair<RecordName, uint64_t>> more;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, known] : known_) {
      const auto& records = known.archive->index.records;
      auto it =
          log ? std::ranges::lower_bound(records, RecordName{*log, 0, 0}, {}, &ArchivedRecord::name) : records.begin();
      for (; it != records.end() && (!log || it->name.log == *log); ++it)
        if (!std::ranges::binary_search(names, it->name)) more.emplace_back(it->name, it->size);
    }
  }
  std::ranges::sort(more);
  more.erase(std::unique(more.begin(), more.end(), [](auto& a, auto& b) { return a.first == b.first; }), more.end());
  for (const auto& [name, size] : more) found.push_back({name.key(), size});
}

// Archives are made seldom, so those are enough that are known, unless something is missing.
Result<std::vector<ObjectInfo>> ArchivedLogs::list_log(const LogId& log, const std::string& prefix,
                                                       const std::stop_token& stop) {
  TRY(std::vector<ObjectInfo> found, store_.list(prefix, stop));
  add_archived(found, log);
  if (without_gaps(found)) return found;
  TRYV(look_for_archives(stop));
  add_archived(found, log);
  return found;
}

Result<std::vector<ObjectInfo>> ArchivedLogs::list(const std::string& prefix, std::stop_token stop) {
  if (auto log = parse_log_prefix(prefix)) return list_log(*log, prefix, stop);
  if (prefix != kLogPrefix) return store_.list(prefix, stop);
  TRY(Listing listing, look(stop));
  add_archived(listing.objects, std::nullopt);
  return std::move(listing.objects);
}

Result<void> ArchivedLogs::put(const std::string& key, BytesView data, std::stop_token stop) {
  TRYV(store_.put(key, data, stop));
  auto name = parse_record_key(key);
  if (!name) return {};
  MutexLock lock(mutex_);
  for (auto& [id, known] : known_)
    if (const ArchivedRecord* record = known.archive->index.find(*name))
      known.alone[static_cast<size_t>(record - known.archive->index.records.data())] = false;
  return {};
}

// kNotFound: the archive is not there, or ends before.
Result<std::shared_ptr<const Bytes>> ArchivedLogs::piece(const PieceName& name, const std::stop_token& stop) {
  {
    MutexLock lock(mutex_);
    for (;;) {
      auto it = pieces_.find(name);
      if (it == pieces_.end()) break;
      it->second.used = ++uses_;
      if (it->second.bytes) return it->second.bytes;
      piece_came_.wait(mutex_);
    }
    pieces_[name].used = ++uses_;
  }
  auto got = store_.get_range(archive_key(name.first), name.second * kPieceSize, kPieceSize, stop);
  MutexLock lock(mutex_);
  piece_came_.notify_all();
  if (!got) {
    pieces_.erase(name);
    return fail(got.error());
  }
  auto bytes = pieces_[name].bytes = std::make_shared<const Bytes>(std::move(*got));
  while (pieces_.size() > kPiecesMost) {
    auto oldest = pieces_.end();
    for (auto it = pieces_.begin(); it != pieces_.end(); ++it)
      if (it->second.bytes && (oldest == pieces_.end() || it->second.used < oldest->second.used)) oldest = it;
    if (oldest == pieces_.end()) break;  // all others are on their way
    pieces_.erase(oldest);
  }
  return bytes;
}

Result<Bytes> ArchivedLogs::read(const Place& place, const std::stop_token& stop) {
  Bytes out;
  const uint64_t end = place.record.offset + place.record.size;
  for (uint64_t at = place.record.offset; at < end;) {
    TRY(std::shared_ptr<const Bytes> from, piece({place.archive->id, at / kPieceSize}, stop));
    const uint64_t skip = at % kPieceSize, length = std::min<uint64_t>(end - at, kPieceSize - skip);
    if (skip + length > from->size()) return fail(Code::kNotFound, "the archive of records is cut off");
    out.insert(out.end(), from->begin() + static_cast<ptrdiff_t>(skip),
               from->begin() + static_cast<ptrdiff_t>(skip + length));
    at += length;
  }
  return out;
}

template <typename FromArchive, typename FromObject>
Result<Bytes> ArchivedLogs::either(const RecordName& name, const std::stop_token& stop, const FromArchive& from_archive,
                                   const FromObject& from_object) {
  std::optional<Bytes> damaged;
  // nullopt: none of them serves.
  auto from_one = [&](const std::vector<Place>& all) -> std::optional<Result<Bytes>> {
    for (const Place& place : all) {
      bool sound = true;
      auto bytes = from_archive(place, sound);
      if (bytes && !sound)
        damaged = std::move(*bytes);
      else if (bytes || bytes.error().code() != Code::kNotFound)
        return bytes;
    }
    return std::nullopt;
  };
  const std::vector<Place> known = places(name);
  const bool alone = std::ranges::any_of(known, &Place::alone);
  if (alone)
    if (auto out = from_one(known)) return std::move(*out);
  Result<Bytes> object = from_object();
  if (object || object.error().code() != Code::kNotFound) return object;
  if (!alone)
    if (auto out = from_one(known)) return std::move(*out);
  TRYV(look_for_archives(stop));
  if (auto out = from_one(places(name))) return std::move(*out);
  // So that whoever asked finds it damaged, and says which record it is.
  if (damaged) return std::move(*damaged);
  return object;
}

Result<Bytes> ArchivedLogs::get(const std::string& key, size_t limit, std::stop_token stop) {
  auto name = parse_record_key(key);
  if (!name) return store_.get(key, limit, stop);
  auto from_archive = [&](const Place& place, bool& sound) -> Result<Bytes> {
    if (place.record.size > limit) return fail(Code::kTooLarge, "the record is larger than was asked for");
    auto bytes = read(place, stop);
    sound = bytes && place.record.is(*bytes);
    return bytes;
  };
  return either(*name, stop, from_archive, [&] { return store_.get(key, limit, stop); });
}

Result<Bytes> ArchivedLogs::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  auto name = parse_record_key(key);
  if (!name) return store_.get_range(key, offset, length, stop);
  // The whole record, which is not large: only of that it is known whether it is sound.
  auto from_archive = [&](const Place& place, bool& sound) -> Result<Bytes> {
    TRY(Bytes bytes, read(place, stop));
    sound = place.record.is(bytes);
    const size_t first = static_cast<size_t>(std::min<uint64_t>(offset, bytes.size()));
    return to_bytes(BytesView(bytes).subspan(first, std::min(length, bytes.size() - first)));
  };
  return either(*name, stop, from_archive, [&] { return store_.get_range(key, offset, length, stop); });
}

}  // namespace coffer
