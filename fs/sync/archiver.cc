#include "fs/sync/archiver.h"

#include <algorithm>
#include <set>

#include "base/failpoint.h"
#include "base/log.h"
#include "crypto/random.h"
#include "fs/sync/archive_rows.h"
#include "fs/sync/parallel.h"

namespace coffer {

namespace {

constexpr size_t kBatch = 64;  // objects that are deleted at once

std::map<RecordName, uint64_t> objects_of(const ArchivedLogs::Listing& listing) {
  std::map<RecordName, uint64_t> out;
  for (const ObjectInfo& info : listing.objects)
    if (auto name = parse_record_key(info.key)) out.emplace(*name, info.size);
  return out;
}

}  // namespace

Result<void> Archiver::run(Collection& sums) {
  if (c_.options.archive_from == 0) return {};
  TRY(Listing listing, c_.archived.look(stop_));
  TRYV(archive(listing, sums));
  return remove_objects(listing, sums);
}

// By the order of records.
Result<std::vector<Archiver::Candidate>> Archiver::find_candidates(const Listing& listing) const {
  std::vector<Candidate> out;
  for (const auto& [name, size] : objects_of(listing)) {
    if (size > kArchivedRecordMax ||
        std::ranges::any_of(listing.archives, [&](const auto& a) { return a->index.find(name) != nullptr; }))
      continue;
    TRY(auto mark, c_.tails.mark(name.log, name.number));
    if (mark) out.push_back({name, size, mark->stamp, mark->hash});
  }
  std::ranges::sort(out, [](const Candidate& a, const Candidate& b) {
    return std::tie(a.stamp, a.name) < std::tie(b.stamp, b.name);
  });
  return out;
}

Result<void> Archiver::archive(const Listing& listing, Collection& sums) {
  TRY(std::vector<Candidate> candidates, find_candidates(listing));
  for (size_t first = 0, end = 0; first < candidates.size(); first = end) {
    uint64_t bytes = 0;
    for (; end < candidates.size() && bytes + candidates[end].size <= c_.options.archive_bytes; ++end)
      bytes += candidates[end].size;
    // Those at the end wait until they are many.
    end = std::max(end, first + 1);
    if (end == candidates.size() && end - first < c_.options.archive_from) return {};
    TRYV(write(std::span(candidates).subspan(first, end - first), sums));
  }
  return {};
}

// Whether it is what was applied here as that record.
Result<bool> Archiver::is_applied(const RecordName& name, BytesView object) const {
  TRY(auto mark, c_.tails.mark(name.log, name.number));
  if (!mark) return false;
  auto opened = open_record(object, c_.volume, name.log, name.number, [this](Epoch e) { return c_.keys_of(e); });
  return opened && opened->hash == mark->hash;
}

Result<void> Archiver::write(std::span<const Candidate> candidates, Collection& sums) {
  if (options_.dry_run) {
    for (const Candidate& c : candidates) sums.archived.add(c.size);
    return {};
  }
  std::vector<std::optional<Result<Bytes>>> got(candidates.size());
  in_parallel("coffer-archive", candidates.size(), c_.options.fetches, [&](size_t i) {
    got[i] = c_.store.get(candidates[i].name.key(), kArchivedRecordMax, stop_);
    return got[i]->has_value() || !got[i]->error().retryable();
  });
  std::vector<std::pair<RecordName, Bytes>> records;
  std::set<std::pair<LogId, uint64_t>> taken;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!got[i]) continue;  // another failed
    if (!*got[i] && got[i]->error().retryable()) return fail(got[i]->error());
    const RecordName& name = candidates[i].name;
    // What is not as it was is somebody else's to tell.
    if (!*got[i] || taken.contains({name.log, name.number})) continue;
    TRY(bool applied, is_applied(name, **got[i]));
    if (!applied) continue;
    taken.emplace(name.log, name.number);
    records.emplace_back(name, std::move(**got[i]));
  }
  if (stop_.stop_requested()) return fail(Code::kCancelled, "coffer is stopping");
  if (records.empty()) return {};
  const ObjectId id = random_id<ObjectId>();
  const Bytes object = make_archive(id, records);
  TRYV(failpoint("sync.put_archive"));
  TRYV(c_.store.put(archive_key(id), object, stop_));
  TRYV(failpoint("sync.archive_put"));
  for (const auto& [name, bytes] : records) sums.archived.add(bytes.size());
  return {};
}

// Of those that are objects as well, the ones that the archive has whole. All of it is read anew: what was put once, the store
// may have lost since.
Result<std::vector<RecordName>> Archiver::find_safe(const ArchivedLogs::Archive& archive,
                                                    std::vector<RecordName> objects) {
  auto object = c_.store.get(archive_key(archive.id), kArchiveMax, stop_);
  if (!object && object.error().retryable()) return fail(object.error());
  if (!object || object->size() != archive.index.object_size) return std::vector<RecordName>();
  std::vector<RecordName> safe;
  for (const RecordName& name : objects) {
    const ArchivedRecord& place = *archive.index.find(name);
    const BytesView bytes = BytesView(*object).subspan(place.offset, place.size);
    TRY(bool applied, is_applied(name, bytes));
    if (applied && place.is(bytes)) safe.push_back(name);
  }
  if (safe.size() < objects.size())
    log_line(LogLevel::kWarning, std::to_string(objects.size() - safe.size()) + " records in the archive " +
                                     archive.id.str().substr(0, 8) +
                                     "... are not what is applied here; their own "
                                     "objects stay");
  return safe;
}

Result<void> Archiver::remove_objects(const Listing& listing, Collection& sums) {
  std::map<RecordName, uint64_t> objects = objects_of(listing);
  TRY(auto rows, c_.replica.rows_with_prefix(kArchiveSeenPrefix));
  std::map<ObjectId, WallTime> since;
  for (const Row& row : rows) {
    TRY(ObjectId id, parse_archive_seen_key(row.key));
    TRY(since[id], decode_archive_seen(row.value));
  }
  struct Ripe {
    const ArchivedLogs::Archive& archive;
    std::vector<RecordName> names;
  };
  std::vector<Ripe> ripe;
  std::vector<RowPut> noted;
  for (const auto& archive : listing.archives) {
    std::vector<RecordName> both;
    for (const ArchivedRecord& record : archive->index.records)
      if (objects.contains(record.name)) both.push_back(record.name);
    if (both.empty()) continue;
    const auto row = since.find(archive->id);
    WallTime seen = sums.when;
    if (row != since.end() && row->second <= seen)
      seen = row->second;
    else
      noted.push_back({archive_seen_key(archive->id), encode_archive_seen(seen)});
    if (row != since.end()) since.erase(row);
    if (Nanos(sums.when.ns - seen.ns) >= options_.archive_grace.value_or(options_.grace))
      ripe.push_back({*archive, std::move(both)});
  }
  // Of archives that are not there any more, or of which nothing is left to be deleted.
  for (const auto& [id, when] : since) noted.push_back({archive_seen_key(id), std::nullopt});
  if (!options_.dry_run) TRYV(c_.replica.put_rows(noted, false));

  for (Ripe& r : ripe) {
    std::erase_if(r.names, [&](const RecordName& name) { return !objects.contains(name); });
    if (!options_.dry_run) {
      TRY(r.names, find_safe(r.archive, std::move(r.names)));
    }
    for (size_t first = 0; first < r.names.size(); first += kBatch) {
      const std::span<const RecordName> some =
          std::span(r.names).subspan(first, std::min(kBatch, r.names.size() - first));
      if (!options_.dry_run) TRYV(remove(some));
      for (const RecordName& name : some) {
        sums.single.add(objects.at(name));
        objects.erase(name);
      }
    }
  }
  return {};
}

Result<void> Archiver::remove(std::span<const RecordName> names) {
  std::vector<std::optional<Result<void>>> outcomes(names.size());
  in_parallel("coffer-collect", names.size(), c_.options.uploads, [&](size_t i) {
    outcomes[i] = c_.store.remove(names[i].key(), stop_);
    return outcomes[i]->has_value();
  });
  for (auto& outcome : outcomes)
    if (outcome) TRYV(std::move(*outcome));
  return failpoint("sync.archived_removed");
}

}  // namespace coffer
