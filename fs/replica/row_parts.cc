#include "fs/replica/row_parts.h"

#include <algorithm>

#include "fs/model/keys.h"

namespace coffer {

using model::RowKind;

namespace {

thread_local PartWishes* wishes = nullptr;
thread_local uint64_t misses_told = 0;

// The end of all keys that begin so.
std::string end_of(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

std::string just_after(std::string_view key) { return std::string(key) + '\0'; }

// Rows of these kinds come with a state; all others are made here, or, as names, follow from them.
bool comes_with_a_state(char kind) {
  return kind == static_cast<char>(RowKind::kInode) || kind == static_cast<char>(RowKind::kEntry) ||
         kind == static_cast<char>(RowKind::kLink) || kind == static_cast<char>(RowKind::kExtents) ||
         kind == static_cast<char>(RowKind::kBitmap) || kind == static_cast<char>(RowKind::kXattrs) || kind == 'P';
}

bool is_name(std::string_view key) { return key.size() >= 9 && key[0] == static_cast<char>(RowKind::kName); }

// The inode that a row of the model's is about.
std::optional<model::Ino> ino_of(std::string_view key) {
  if (key.size() < 9 || key[0] == 'P') return std::nullopt;
  return number_at(key, 1);
}

}  // namespace

PartWishes::PartWishes() : outer_(wishes) { wishes = this; }
PartWishes::~PartWishes() { wishes = outer_; }
uint64_t PartWishes::misses() { return misses_told; }

void RowParts::begin(std::vector<std::string> first_keys, const std::vector<bool>& here) {
  auto list = std::make_unique<List>();
  list->here = std::make_unique<std::atomic<bool>[]>(first_keys.size());
  for (size_t i = 0; i < first_keys.size(); ++i) {
    list->here[i] = here[i];
    if (!here[i]) ++list->missing;
  }
  list->first_keys = std::move(first_keys);
  ExclusiveLock lock(mutex_);
  lists_.push_back(std::move(list));
  current_.store(lists_.back().get(), std::memory_order_release);
}

void RowParts::set_here(size_t part) {
  List& l = *current_.load();
  if (!l.here[part].exchange(true, std::memory_order_acq_rel)) --l.missing;
}

void RowParts::own(uint64_t ino_prefix) {
  ExclusiveLock lock(mutex_);
  own_.insert(ino_prefix);
}

void RowParts::end() {
  current_.store(nullptr, std::memory_order_release);
  ExclusiveLock lock(mutex_);
  own_.clear();
  wanted_.clear();
}

size_t RowParts::count() const { return list() ? list()->first_keys.size() : 0; }
size_t RowParts::missing() const { return list() ? list()->missing.load() : 0; }
bool RowParts::here(size_t part) const { return !list() || list()->here[part].load(std::memory_order_acquire); }

bool RowParts::is_own(model::Ino ino) const {
  SharedLock lock(mutex_);
  return own_.contains(ino >> kOwnShift);
}

std::vector<size_t> RowParts::missing_in(std::string_view from, std::string_view to) const {
  std::vector<size_t> out;
  const List* l = list();
  if (!l || l->missing == 0) return out;
  const auto& keys = l->first_keys;
  auto at = std::upper_bound(keys.begin(), keys.end(), from, std::less<>());
  if (at != keys.begin()) --at;
  for (; at != keys.end() && *at < to; ++at) {
    const auto part = static_cast<size_t>(at - keys.begin());
    if (!l->here[part].load(std::memory_order_acquire)) out.push_back(part);
  }
  return out;
}

std::vector<size_t> RowParts::missing_of(std::string_view prefix) const { return missing_in(prefix, end_of(prefix)); }

std::vector<size_t> RowParts::beginning_before(std::string_view key, std::vector<size_t> parts) const {
  const List* l = list();
  std::erase_if(parts, [&](size_t part) { return !l || l->first_keys[part] >= key; });
  return parts;
}

std::unexpected<Error> RowParts::miss(const std::vector<size_t>& parts) const {
  ++misses_told;
  if (wishes) wishes->missed_.insert(parts.begin(), parts.end());
  wish(parts);
  return fail(Code::kUnavailable, "part " + std::to_string(parts.front()) + " of the volume's state is not here yet");
}

void RowParts::wish(const std::vector<size_t>& parts) const {
  if (parts.empty()) return;
  ExclusiveLock lock(mutex_);
  wanted_.insert(parts.begin(), parts.end());
}

std::vector<size_t> RowParts::take_wanted() const {
  ExclusiveLock lock(mutex_);
  std::vector<size_t> out(wanted_.begin(), wanted_.end());
  wanted_.clear();
  return out;
}

Result<bool> PartRows::has_none(char kind, model::Ino ino) const {
  if (parts_.is_own(ino)) return true;
  const RowKey key = model::inode_key(ino);
  if (kind == static_cast<char>(RowKind::kInode) || !parts_.missing_in(key.bytes, just_after(key.bytes)).empty())
    return false;
  TRY(auto row, table_.get(key));
  if (!row) return false;
  TRY(model::Inode inode, model::decode_inode(*row));
  switch (static_cast<RowKind>(kind)) {
    case RowKind::kExtents:
      return inode.chunks.empty();
    case RowKind::kBitmap:
      return !inode.blocks;
    case RowKind::kXattrs:
      return !inode.has_xattrs;
    case RowKind::kLink:
      return inode.nlink <= 1 || inode.is_directory();
    default:
      return false;
  }
}

Result<std::optional<Bytes>> PartRows::get(const RowKey& key) const {
  if (!parts_.loading() || key.bytes.empty()) return table_.get(key);
  const char kind = key.bytes[0];
  std::vector<size_t> missing;
  if (is_name(key.bytes)) {
    // A name is known when all entries of its directory are.
    missing = parts_.missing_of(model::entry_prefix(number_at(key.bytes, 1)));
  } else if (comes_with_a_state(kind)) {
    missing = parts_.missing_in(key.bytes, just_after(key.bytes));
  }
  TRY(auto row, table_.get(key));
  if (row || missing.empty()) return row;
  if (auto ino = ino_of(key.bytes)) {
    TRY(bool none, has_none(kind, *ino));
    if (none) return row;
  }
  return parts_.miss(missing);
}

Result<std::optional<Row>> PartRows::next(std::string_view prefix, std::string_view after) const {
  if (!parts_.loading() || prefix.empty() || !comes_with_a_state(prefix[0])) return table_.next(prefix, after);
  const std::string from = after < prefix ? std::string(prefix) : just_after(after);
  std::vector<size_t> missing = parts_.missing_in(from, end_of(prefix));
  TRY(auto row, table_.next(prefix, after));
  // Only a part that begins before the row may have what comes next. (It may have come since: then it is looked for again.)
  if (row) missing = parts_.beginning_before(row->key, std::move(missing));
  if (missing.empty()) return row;
  if (auto ino = ino_of(prefix)) {
    TRY(bool none, has_none(prefix[0], *ino));
    if (none) return row;
  }
  return parts_.miss(missing);
}

Result<void> PartRows::need(const std::vector<std::string>& prefixes) const {
  std::vector<size_t> needed;
  for (const std::string& prefix : prefixes) {
    std::vector<size_t> missing = parts_.missing_of(prefix);
    if (missing.empty()) continue;
    auto ino = ino_of(prefix);
    TRY(bool none, ino ? has_none(prefix[0], *ino) : Result<bool>(false));
    if (!none) needed.insert(needed.end(), missing.begin(), missing.end());
  }
  if (needed.empty()) return {};
  return parts_.miss(needed);
}

}  // namespace coffer
