#include "fs/replica/bookkeeping.h"

namespace coffer {
namespace {

constexpr uint8_t kLayout = 1;

RowKey numbered_key(char kind, uint64_t n) {
  std::string bytes(1, kind);
  append_number(bytes, n);
  return clear_key(std::move(bytes));
}

// Reads the layout byte that every value starts with.
Result<Reader> open_value(BytesView value, const char* what) {
  Reader r(value);
  uint8_t layout = r.u8();
  if (r.ok() && layout > kLayout)
    return fail(Code::kTooNew, std::string(what) + " was written by a newer coffer (layout " + std::to_string(layout) +
                                   "): use that version");
  return r;
}

std::unexpected<Error> damaged(const char* what) {
  return fail(Code::kCorrupt, std::string(what) + " does not decode");
}

}  // namespace

RowKey state_key() { return clear_key("Mstate"); }
RowKey applied_key(model::Generation last) { return numbered_key('G', last); }
RowKey place_key(const ObjectId& pack) {
  return clear_key(std::string(kPlacePrefix) + std::string(as_string(pack.view())));
}
RowKey orphan_key(Ino ino) { return numbered_key('O', ino); }
RowKey outgoing_key() { return clear_key("U"); }
RowKey loading_key() { return clear_key("Mloading"); }
RowKey stable_key() { return clear_key("Mstable"); }
RowKey parts_key() { return clear_key("Mparts"); }
RowKey part_here_key(uint32_t part) {
  std::string key(kPartHerePrefix);
  for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<char>(part >> shift));
  return clear_key(std::move(key));
}
RowKey own_inos_key(uint64_t prefix) {
  std::string key(kOwnInosPrefix);
  append_number(key, prefix);
  return clear_key(std::move(key));
}

Result<Ino> parse_orphan_key(std::string_view key) {
  if (key.size() != 9 || key[0] != 'O') return damaged("orphan row");
  return number_at(key, 1);
}

Result<ObjectId> parse_place_key(std::string_view key) {
  if (key.size() != kPlacePrefix.size() + ObjectId::kSize || !key.starts_with(kPlacePrefix))
    return damaged("row of a pack's place");
  return ObjectId::from(as_bytes(key.substr(kPlacePrefix.size())));
}

Bytes encode(const ReplicaState& s) {
  Bytes out;
  Writer w(out);
  w.u8(kLayout);
  w.u64(s.first_pending);
  w.u64(s.open);
  return out;
}

Result<ReplicaState> decode_replica_state(BytesView value) {
  TRY(Reader r, open_value(value, "the replica"));
  ReplicaState s;
  s.first_pending = r.u64();
  s.open = r.u64();
  if (!r.at_end() || s.first_pending == 0 || s.first_pending > s.open) return damaged("the replica's state row");
  return s;
}

Bytes encode_stable(uint64_t stamp) {
  Bytes out;
  Writer w(out);
  w.u8(kLayout);
  w.u64(stamp);
  return out;
}

Result<uint64_t> decode_stable(BytesView value) {
  TRY(Reader r, open_value(value, "the replica"));
  uint64_t stamp = r.u64();
  if (!r.at_end()) return damaged("the row of the stable line");
  return stamp;
}

Bytes encode(const AppliedRecord& a) {
  Bytes out;
  Writer w(out);
  w.u8(kLayout);
  w.u64(a.first);
  w.u64(a.last);
  w.u64(a.record.stamp);
  w.id(a.record.log);
  w.u64(a.record.number);
  w.id(a.record.author.record);
  w.string(a.record.author.device);
  w.u64(static_cast<uint64_t>(a.record.author.when.ns));
  model::encode(a.record.changes, w);
  return out;
}

Result<AppliedRecord> decode_applied_record(BytesView value) {
  TRY(Reader r, open_value(value, "an applied record"));
  AppliedRecord a;
  a.first = r.u64();
  a.last = r.u64();
  a.record.stamp = r.u64();
  a.record.log = r.id<LogId>();
  a.record.number = r.u64();
  a.record.author.record = r.id<Hash>();
  a.record.author.device = r.string();
  a.record.author.when.ns = static_cast<int64_t>(r.u64());
  if (!r.ok() || a.first > a.last) return damaged("an applied record's row");
  TRY(a.record.changes, model::decode_change_set(r));
  if (!r.at_end()) return damaged("an applied record's row");
  return a;
}

Bytes encode(const PackPlace& p) {
  Bytes out;
  Writer w(out);
  w.u8(kLayout);
  w.string(p.key);
  w.varint(p.offset);
  w.varint(p.size);
  return out;
}

Result<PackPlace> decode_pack_place(BytesView value) {
  TRY(Reader r, open_value(value, "a pack's place"));
  PackPlace p;
  p.key = r.string();
  p.offset = r.varint();
  p.size = r.varint();
  if (!r.at_end()) return damaged("a pack's place");
  return p;
}

Bytes encode(const Replica::Outgoing& o) {
  Bytes out;
  Writer w(out);
  w.u8(kLayout);
  w.string(o.key);
  w.bytes(o.sealed);
  return out;
}

Result<Replica::Outgoing> decode_outgoing(BytesView value) {
  TRY(Reader r, open_value(value, "the outgoing record"));
  Replica::Outgoing o;
  o.key = r.string();
  o.sealed = to_bytes(r.bytes());
  if (!r.at_end()) return damaged("the outgoing record's row");
  return o;
}

}  // namespace coffer
