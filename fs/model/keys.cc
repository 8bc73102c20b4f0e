#include "fs/model/keys.h"

namespace coffer::model {
namespace {

// Builds a key: one letter, then its parts.
class KeyBuilder {
 public:
  explicit KeyBuilder(RowKind kind, size_t size) {
    key_.bytes.reserve(size);
    key_.bytes.push_back(static_cast<char>(kind));
  }
  KeyBuilder& number(uint64_t v) {
    append_number(key_.bytes, v);
    return *this;
  }
  KeyBuilder& text(std::string_view s) {
    key_.bytes.append(s);
    return *this;
  }
  // What comes from here on is hidden on disk.
  KeyBuilder& hide() {
    key_.clear = key_.bytes.size();
    hidden_ = true;
    return *this;
  }
  RowKey key() {
    if (!hidden_) key_.clear = key_.bytes.size();
    return std::move(key_);
  }
  std::string prefix() { return std::move(key_.bytes); }

 private:
  RowKey key_;
  bool hidden_ = false;
};

bool is(std::string_view key, RowKind kind, size_t numbers) {
  return key.size() == 1 + 8 * numbers && key[0] == static_cast<char>(kind);
}

}  // namespace

RowKey inode_key(Ino ino) { return KeyBuilder(RowKind::kInode, 9).number(ino).key(); }
RowKey entry_key(Ino dir, uint64_t cookie) { return KeyBuilder(RowKind::kEntry, 17).number(dir).number(cookie).key(); }
std::string entry_prefix(Ino dir) { return KeyBuilder(RowKind::kEntry, 9).number(dir).prefix(); }
RowKey name_key(Ino dir, std::string_view name) {
  return KeyBuilder(RowKind::kName, 9 + name.size()).number(dir).hide().text(name).key();
}
RowKey link_key(Ino ino, Ino dir, uint64_t cookie) {
  return KeyBuilder(RowKind::kLink, 25).number(ino).number(dir).number(cookie).key();
}
std::string link_prefix(Ino ino) { return KeyBuilder(RowKind::kLink, 9).number(ino).prefix(); }
RowKey chunk_key(Ino ino, uint64_t chunk) {
  return KeyBuilder(RowKind::kExtents, 17).hide().number(ino).number(chunk).key();
}
RowKey block_key(Ino ino, uint64_t block) {
  return KeyBuilder(RowKind::kBitmap, 17).hide().number(ino).number(block).key();
}
RowKey xattr_key(Ino ino) { return KeyBuilder(RowKind::kXattrs, 9).hide().number(ino).key(); }
RowKey tombstone_key(Ino ino) { return KeyBuilder(RowKind::kTombstone, 9).number(ino).key(); }
RowKey displaced_key(Ino ino, Version version) {
  return KeyBuilder(RowKind::kDisplaced, 17).number(ino).number(version).key();
}
std::string displaced_prefix(Ino ino) { return KeyBuilder(RowKind::kDisplaced, 9).number(ino).prefix(); }
RowKey displaced_chunk_key(Ino ino, Version version, uint64_t chunk) {
  return KeyBuilder(RowKind::kDisplacedExtents, 25).hide().number(ino).number(version).number(chunk).key();
}
RowKey alias_key(Ino ino) { return KeyBuilder(RowKind::kAlias, 9).number(ino).key(); }
RowKey diverted_key(Ino dir, Ino ino, std::string_view name) {
  return KeyBuilder(RowKind::kDiverted, 17 + name.size()).number(dir).hide().number(ino).text(name).key();
}
RowKey history_key(Generation generation, uint64_t index) {
  return KeyBuilder(RowKind::kHistory, 17).number(generation).number(index).key();
}
std::string history_prefix(Generation generation) {
  return KeyBuilder(RowKind::kHistory, 9).number(generation).prefix();
}

std::string kind_prefix(RowKind kind) { return std::string(1, static_cast<char>(kind)); }

Result<void> walk_rows(const ReadRows& rows, RowKind kind, const std::function<Result<void>(const Row&)>& visit) {
  const std::string prefix = kind_prefix(kind);
  for (std::string at = prefix;;) {
    TRY(std::optional<Row> row, rows.next(prefix, at));
    if (!row) return {};
    TRYV(visit(*row));
    at = std::move(row->key);
  }
}

std::optional<RowKind> kind_of(std::string_view key) {
  if (key.empty()) return std::nullopt;
  switch (static_cast<RowKind>(key[0])) {
    case RowKind::kInode:
    case RowKind::kEntry:
    case RowKind::kName:
    case RowKind::kLink:
    case RowKind::kExtents:
    case RowKind::kBitmap:
    case RowKind::kXattrs:
    case RowKind::kTombstone:
    case RowKind::kDisplaced:
    case RowKind::kDisplacedExtents:
    case RowKind::kAlias:
    case RowKind::kDiverted:
    case RowKind::kHistory:
      return static_cast<RowKind>(key[0]);
  }
  return std::nullopt;
}

// Rows of other layers (the replica's bookkeeping) have other letters and are not tracked either.
bool is_tracked(const RowKey& key) {
  std::optional<RowKind> kind = kind_of(key.bytes);
  return kind && *kind != RowKind::kName && *kind != RowKind::kLink && *kind != RowKind::kHistory;
}

Result<EntryPlace> parse_entry_key(std::string_view key) {
  if (!is(key, RowKind::kEntry, 2)) return fail(Code::kCorrupt, "not the key of an entry");
  return EntryPlace{number_at(key, 1), number_at(key, 9)};
}

Result<EntryPlace> parse_link_key(std::string_view key) {
  if (!is(key, RowKind::kLink, 3)) return fail(Code::kCorrupt, "not the key of a link");
  return EntryPlace{number_at(key, 9), number_at(key, 17)};
}

Result<uint64_t> parse_first(RowKind kind, std::string_view key) {
  if (key.size() < 9 || key[0] != static_cast<char>(kind)) return fail(Code::kCorrupt, "a key of another kind");
  return number_at(key, 1);
}

Result<FileChunk> parse_chunk_key(std::string_view key) {
  if (!is(key, RowKind::kExtents, 2)) return fail(Code::kCorrupt, "not the key of a chunk");
  return FileChunk{number_at(key, 1), number_at(key, 9)};
}

Result<FileVersion> parse_displaced_key(std::string_view key) {
  if (!is(key, RowKind::kDisplaced, 2)) return fail(Code::kCorrupt, "not the key of a displaced version");
  return FileVersion{number_at(key, 1), number_at(key, 9)};
}

}  // namespace coffer::model
