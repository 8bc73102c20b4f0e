// A state that comes part by part (row_parts.h): what is here of it is kept in rows, so that loading goes on after a restart.
//
//   Mparts          -> layout u8 | count varint | count x ( first key string | info bytes )
//   Mphere part     -> empty: the part's rows are in the table
//   Mpown prefix    -> empty: inode numbers that this device has handed out since
//
// A part's rows come together with its Mphere row, in one entry of the journal. All of these rows go when the state is whole,
// and was found to be sound.
#include <algorithm>

#include "base/failpoint.h"
#include "fs/model/invariants.h"
#include "fs/replica/impl.h"
#include "fs/replica/loaded_state.h"

namespace coffer {

namespace {

constexpr uint8_t kPartsLayout = 1;

Bytes encode(const std::vector<Replica::Part>& parts) {
  Bytes out;
  Writer w(out);
  w.u8(kPartsLayout);
  w.varint(parts.size());
  for (const Replica::Part& p : parts) {
    w.string(p.first_key);
    w.bytes(p.info);
  }
  return out;
}

Result<std::vector<Replica::Part>> decode_parts(BytesView row) {
  Reader in(row);
  if (uint8_t layout = in.u8(); in.ok() && layout > kPartsLayout)
    return fail(Code::kTooNew, "the state is being loaded by a later coffer");
  std::vector<Replica::Part> out(in.count(2));
  for (Replica::Part& p : out) {
    p.first_key = in.string();
    p.info = to_bytes(in.bytes());
  }
  if (!in.at_end()) return fail(Code::kCorrupt, "the list of the state's parts makes no sense");
  return out;
}

}  // namespace

RowPut parts_row(const std::vector<Replica::Part>& parts) { return {parts_key(), encode(parts)}; }

Result<void> Replica::Impl::load_parts() {
  TRY(auto row, table->get(parts_key()));
  if (!row) return {};
  TRY(std::vector<Part> list, decode_parts(*row));
  std::vector<bool> here(list.size());
  TRY(auto here_rows, rows_with_prefix(kPartHerePrefix));
  for (const Row& r : here_rows) {
    size_t part = 0;
    for (char c : std::string_view(r.key).substr(kPartHerePrefix.size())) part = part << 8 | static_cast<uint8_t>(c);
    if (part >= here.size()) return fail(Code::kCorrupt, "a part of the state that is in no list");
    here[part] = true;
  }
  std::vector<std::string> first_keys;
  for (Part& p : list) first_keys.push_back(std::move(p.first_key));
  parts.begin(std::move(first_keys), here);
  TRY(auto own_rows, rows_with_prefix(kOwnInosPrefix));
  for (const Row& r : own_rows) {
    if (r.key.size() != kOwnInosPrefix.size() + 8) return fail(Code::kCorrupt, "a row of our inode numbers");
    parts.own(number_at(r.key, kOwnInosPrefix.size()));
  }
  return {};
}

Result<std::vector<RowPut>> Replica::Impl::ending_rows() const {
  std::vector<RowPut> out{{parts_key(), std::nullopt}};
  for (std::string_view prefix : {kPartHerePrefix, kOwnInosPrefix}) {
    TRY(auto rows, rows_with_prefix(prefix));
    for (Row& r : rows) out.push_back({clear_key(std::move(r.key)), std::nullopt});
  }
  return out;
}

Result<void> Replica::Impl::need_contents(Ino ino) const {
  if (!parts.loading()) return {};
  auto inode = model::get_inode(*known_rows, ino);
  if (!inode && inode.error().code() == Code::kStale) return {};
  if (!inode) return fail(inode.error());
  std::vector<std::string> prefixes;
  for (model::RowKind kind : {model::RowKind::kExtents, model::RowKind::kBitmap, model::RowKind::kXattrs}) {
    prefixes.push_back(model::kind_prefix(kind));
    append_number(prefixes.back(), ino);
  }
  return known_rows->need(prefixes);
}

const RowParts& Replica::parts() const { return impl_->parts; }

Result<std::vector<Replica::Part>> Replica::part_list() const {
  TRY(auto row, impl_->table->get(parts_key()));
  if (!row) return std::vector<Part>();
  return decode_parts(*row);
}

Result<void> Replica::put_part(size_t part, const LoadedState& rows,
                               std::span<const std::pair<ObjectId, PackPlace>> places) {
  Impl& r = *impl_;
  TRYV(failpoint("replica.put_part"));
  TRYV(r.throttle());
  std::vector<RowPut> puts;
  for (const auto& [key, value] : rows.rows()) puts.push_back({RowKey{key, value.clear}, value.bytes});
  Lsn lsn;
  {
    ExclusiveLock lock(r.state);
    if (!r.parts.loading() || part >= r.parts.count() || r.parts.here(part)) return {};
    for (const RowPut& put : puts) {
      auto ino = model::parse_first(*model::kind_of(put.key.bytes), put.key.bytes);
      if (ino && r.parts.is_own(*ino))
        return fail(Code::kCorrupt, "the checkpoint has an inode that was made here later");
    }
    // What is known here of a pack is younger.
    for (const auto& [pack, place] : places) {
      TRY(auto known, r.table->get(place_key(pack)));
      if (!known) puts.push_back({place_key(pack), encode(place)});
    }
    puts.push_back({part_here_key(static_cast<uint32_t>(part)), Bytes{}});
    lsn = r.commit(puts);
    r.parts.set_here(part);
    r.take_places(places, lsn);
  }
  TRYV(failpoint("replica.part_put"));
  return r.sync_journal(lsn);
}

Result<std::vector<std::string>> Replica::check_parts(const std::stop_token& stop) {
  Impl& r = *impl_;
  std::shared_ptr<SnapshotRows> rows;
  {
    ExclusiveLock lock(r.state);
    if (r.parts.missing() > 0) return fail(Code::kBusy, "the state is not wholly here");
    rows = std::make_shared<SnapshotRows>(r.state, *r.table);
    std::erase_if(r.snapshots, [](const auto& other) { return other.expired(); });
    r.snapshots.push_back(rows);
  }
  TRY(std::vector<std::string> faults, model::find_faults(*rows));
  TRY(std::set<ObjectId> packs, StateSnapshot(rows).held_packs(stop));
  for (const ObjectId& pack : packs) {
    TRY(auto place, r.table->get(place_key(pack)));
    if (!place && !r.packs->size(pack)) faults.push_back("it does not say where pack " + pack.str() + " is");
  }
  return faults;
}

Result<void> Replica::end_parts() {
  Impl& r = *impl_;
  TRYV(failpoint("replica.end_parts"));
  Lsn lsn;
  {
    ExclusiveLock lock(r.state);
    if (!r.parts.loading()) return {};
    if (r.parts.missing() > 0) return fail(Code::kInternal, "the state is not wholly here");
    TRY(auto puts, r.ending_rows());
    lsn = r.commit(puts);
    r.parts.end();
  }
  return r.sync_journal(lsn);
}

}  // namespace coffer
