#include "fs/replica/journal_entry.h"

namespace coffer {

namespace {

void write_put(Writer& w, std::string_view key, size_t clear, const std::optional<Bytes>& value) {
  w.varint(clear);
  w.string(key);
  w.u8(value ? 1 : 0);
  if (value) w.bytes(*value);
}

}  // namespace

void EncodedPuts::add(std::string_view key, size_t clear, const std::optional<Bytes>& value) {
  Writer w(bytes_);
  write_put(w, key, clear, value);
  ++count_;
}

void EncodedPuts::add(std::span<const RowPut> puts) {
  for (const RowPut& p : puts) add(p.key.bytes, p.key.clear, p.value);
}

Bytes journal_entry_head(size_t puts) {
  Bytes out;
  Writer w(out);
  w.u8(1);
  w.varint(puts);
  return out;
}

Bytes journal_entry_tail() {
  Bytes out;
  Writer(out).varint(0);  // frames
  return out;
}

Bytes encode_journal_entry(std::span<const RowPut> puts, std::span<const model::Extent> frames,
                           std::span<const RecentFrame> recent) {
  size_t size = 16 + frames.size() * 28;
  for (const RecentFrame& f : recent) size += f.sealed.size() + 28;
  for (const RowPut& p : puts) size += p.key.bytes.size() + (p.value ? p.value->size() : 0) + 8;
  Bytes out;
  out.reserve(size);
  Writer w(out);
  w.u8(recent.empty() ? 1 : 2);
  w.varint(puts.size());
  for (const RowPut& p : puts) write_put(w, p.key.bytes, p.key.clear, p.value);
  w.varint(frames.size());
  for (const model::Extent& e : frames) {
    w.id(e.frame.pack);
    w.u32(e.frame.offset);
    w.u32(e.frame.length);
    w.u32(e.frame_length);
  }
  if (recent.empty()) return out;
  w.varint(recent.size());
  for (const RecentFrame& f : recent) {
    w.id(f.pack);
    w.u32(f.offset);
    w.bytes(f.sealed);
  }
  return out;
}

Result<JournalEntry> decode_journal_entry(BytesView payload) {
  Reader r(payload);
  JournalEntry entry;
  const uint8_t version = r.u8();
  if (r.ok() && version != 1 && version != 2)
    return fail(Code::kTooNew, "journal entry of layout " + std::to_string(version));
  size_t count = r.count(3);
  entry.puts.reserve(count);
  for (size_t i = 0; i < count && r.ok(); ++i) {
    RowPut put;
    put.key.clear = r.varint();
    put.key.bytes = r.string();
    if (put.key.clear > put.key.bytes.size()) r.fail();
    if (r.u8() != 0) put.value = to_bytes(r.bytes());
    entry.puts.push_back(std::move(put));
  }
  count = r.count(28);
  entry.frames.reserve(count);
  for (size_t i = 0; i < count && r.ok(); ++i) {
    model::Extent e;
    e.frame.pack = r.id<ObjectId>();
    e.frame.offset = r.u32();
    e.frame.length = r.u32();
    e.frame_length = r.u32();
    if (e.frame_length == 0 || e.frame_length > kFrameMax) r.fail();
    entry.frames.push_back(e);
  }
  if (version == 2) {
    count = r.count(21);
    entry.recent.reserve(count);
    for (size_t i = 0; i < count && r.ok(); ++i) {
      RecentFrame f;
      f.pack = r.id<ObjectId>();
      f.offset = r.u32();
      f.sealed = to_bytes(r.bytes());
      if (f.sealed.size() > kSealedFrameMax || f.offset >= kPackTarget) r.fail();
      entry.recent.push_back(std::move(f));
    }
    if (entry.recent.empty()) r.fail();
  }
  if (!r.at_end()) return fail(Code::kCorrupt, "journal entry does not decode");
  return entry;
}

}  // namespace coffer
