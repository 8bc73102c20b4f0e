#include "fs/check/rebuild.h"

#include <algorithm>

#include "cache/frame.h"
#include "cache/pack_store.h"
#include "crypto/hash.h"
#include "fs/sync/carried.h"
#include "fs/sync/object_keys.h"

namespace coffer {
namespace {

constexpr uint64_t kPackMax = uint64_t{64} << 20;  // more is no pack of ours
constexpr int kDepthMax = 200;
constexpr int kMovesMost = 100;                  // of one frame, one after the other
constexpr size_t kPathMax = 3000;                // longer ones are cut at the front
constexpr uint64_t kEndMax = uint64_t{1} << 43;  // what lies behind it is no file that a person had

std::string hex_number(uint64_t n) {
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out.push_back("0123456789abcdef"[n >> shift & 15]);
  return out;
}

std::string component(const std::string& name, Ino ino) {
  return model::valid_name(name) ? name : "file-" + hex_number(ino);
}

}  // namespace

Result<void> Rebuild::scan() {
  TRYV(c_.list());
  TRYV(scan_revocations());
  TRYV(scan_records());
  for (const auto& [key, size] : c_.objects)
    if (auto id = parse_pack_key(key)) TRYV(scan_pack(key, *id, size));
  plan();
  return {};
}

Result<void> Rebuild::scan_revocations() {
  std::vector<Bytes> objects;
  for (const auto& [key, size] : c_.objects) {
    auto name = parse_slot_key(key);
    if (!name || !name->revocation) continue;
    TRY(std::optional<Bytes> object, c_.get(key, kMaxRevocationSize, [](const Error&) {}));
    if (object) objects.push_back(std::move(*object));
  }
  c_.revocations.add_all(objects, c_.volume, c_.volume_signing);
  return {};
}

Result<void> Rebuild::scan_records() {
  std::map<LogId, DeviceCertificate> authors;
  std::vector<std::pair<std::string, OpenedRecord>> opened_records;
  for (const auto& [key, size] : c_.objects) {
    auto name = parse_record_key(key);
    if (!name) continue;
    TRY(std::optional<Bytes> object, c_.get(key, kRecordMax, [](const Error&) {}));
    auto opened = object ? open_record(*object, c_.volume, name->log, name->number, c_.keys())
                         : Result<OpenedRecord>(fail(Code::kNotFound, ""));
    if (!opened) {
      ++unreadable_;
      continue;
    }
    if (opened->record.opening && opened->record.opening->certificate.valid(c_.volume_signing, c_.volume))
      authors[name->log] = opened->record.opening->certificate;
    opened_records.emplace_back(key, std::move(*opened));
  }
  for (auto& [key, opened] : opened_records) {
    auto author = authors.find(opened.log);
    if (author != authors.end() && !opened.signed_by(author->second.key)) {
      ++unreadable_;
      continue;
    }
    LogTail log;
    log.log = opened.log;
    if (author != authors.end()) log.set_author(author->second);
    if (c_.revocations.is_void(log, opened.number, opened.hash)) {
      for (const RecordPack& pack : opened.record.packs) void_packs_.insert(pack.id);
      continue;
    }
    if (author == authors.end()) ++unverified_;
    ++records_;
    take(opened, key);
  }
  return {};
}

void Rebuild::take(const OpenedRecord& opened, const std::string& key) {
  const Record& record = opened.record;
  for (const auto& [pack, place] : places_of(opened, key))
    if (place.key == key) in_records_[pack] = {key, place.offset};
  for (const model::InodeChange& change : record.changes.inodes) {
    Node& node = nodes_[change.ino];
    if (change.kind == model::InodeChange::Kind::kMade) node.directory = change.type == model::FileType::kDirectory;
    if (!change.content || change.only_seen()) continue;
    node.changes[record.stamp].push_back(*change.content);
    told_.insert(change.content->version);
    if (!node.size || node.size->first <= record.stamp) node.size = {record.stamp, change.content->size};
  }
  for (const model::Move& m : record.changes.moves) moved_[{m.pack, m.offset}] = m.to.frame;
  for (const model::EntryChange& entry : record.changes.entries) {
    auto name = [&](Ino ino, bool has) {
      Node& node = nodes_[ino];
      if (node.named_by_record && node.name->stamp > record.stamp) return;
      // Of a move, the removal of the old name says nothing.
      if (!has && node.named_by_record && (node.name->dir != entry.dir || node.name->name != entry.name)) return;
      node.name = Name{entry.dir, entry.name, record.stamp};
      node.named_by_record = true;
      node.has_name = has;
      node.directory = node.directory || entry.type == model::FileType::kDirectory;
    };
    if (entry.before != 0 && entry.before != entry.after) name(entry.before, false);
    if (entry.after != 0) name(entry.after, true);
  }
}

Result<void> Rebuild::scan_pack(const std::string& key, const ObjectId& id, uint64_t size) {
  if (size > kPackMax || void_packs_.contains(id)) return {};
  TRY(std::optional<Bytes> object, c_.get(key, kPackMax, [](const Error&) {}));
  if (!object) return {};
  auto index = read_pack_index(*object, id, c_.volume, c_.key_ring);
  if (!index) return {};  // a segment, a root, or damaged
  packs_[id] = {key, 0};
  for (const IndexEntry& e : *index) {
    if (e.length == 0 || e.length > kFrameMax || e.offset > model::kSizeMax - e.length) continue;
    Node& node = nodes_[e.inode];
    if (!node.name) node.name = Name{e.parent, e.name, 0};
    lay(node.versions[e.version], e.offset, {e.offset + e.length, e.frame, 0, e.length, false});
  }
  return {};
}

// Puts a piece over what is there.
void Rebuild::lay(Layer& layer, uint64_t from, Piece piece) {
  auto it = layer.lower_bound(from);
  if (it != layer.begin()) {
    auto before = std::prev(it);
    if (before->second.end > from) {
      Piece rest = before->second;
      const uint64_t begin = before->first;
      before->second.end = from;
      if (rest.end > piece.end) {
        rest.skip += static_cast<uint32_t>(piece.end - begin);
        layer.emplace(piece.end, rest);
      }
    }
  }
  while (it != layer.end() && it->first < piece.end) {
    if (it->second.end > piece.end) {
      Piece rest = it->second;
      rest.skip += static_cast<uint32_t>(piece.end - it->first);
      layer.emplace(piece.end, rest);
    }
    it = layer.erase(it);
  }
  layer.emplace(from, piece);
}

bool Rebuild::overlap(const Layer& a, const Layer& b) {
  for (const auto& [from, piece] : a) {
    auto it = b.lower_bound(from);
    if (it != b.end() && it->first < piece.end) return true;
    if (it != b.begin() && std::prev(it)->second.end > from) return true;
  }
  return false;
}

std::vector<std::string> Rebuild::path_to(Ino dir, int depth) const {
  if (dir == model::kRootIno) return {};
  auto it = nodes_.find(dir);
  if (it == nodes_.end() || !it->second.name || !it->second.directory || depth > kDepthMax)
    return {"directory-" + hex_number(dir)};
  std::vector<std::string> out = path_to(it->second.name->dir, depth + 1);
  out.push_back(component(it->second.name->name, dir));
  return out;
}

void Rebuild::plan() {
  for (const auto& [ino, node] : nodes_) {
    if (!node.name) continue;
    std::vector<std::string> path = path_to(node.name->dir, 0);
    path.push_back(component(node.name->name, ino));
    size_t length = 0;
    for (const std::string& part : path) length += part.size() + 1;
    if (length > kPathMax)
      path.erase(path.begin(), path.end() - 2), path.front() = "directory-" + hex_number(node.name->dir);
    if (node.directory) {
      if (node.has_name) directories_.push_back(std::move(path));
      continue;
    }
    if (node.versions.empty() && node.changes.empty()) continue;
    // What only packs tell of, as far as it fits together; then what records tell, in their order.
    Layer layer;
    bool any = false;
    std::vector<std::pair<model::Version, const Layer*>> apart;
    for (const auto& [version, frames] : node.versions) {
      if (told_.contains(version)) continue;
      if (overlap(frames, layer)) {
        apart.emplace_back(version, &frames);
        continue;
      }
      any = true;
      for (const auto& [from, piece] : frames) lay(layer, from, piece);
    }
    for (const auto& [stamp, changes] : node.changes)
      for (const model::ContentChange& change : changes) {
        for (const model::ContentPiece& p : change.pieces) {
          Piece piece{p.offset + p.length, {}, 0, 0, true};
          if (p.extent) piece = {p.offset + p.length, p.extent->frame, p.extent->skip, p.extent->frame_length, false};
          lay(layer, p.offset, piece);
        }
        lay(layer, change.size, {UINT64_MAX, {}, 0, 0, true});
        layer.erase(change.size);
      }
    add_file(ino, node, layer, path, !any && apart.empty());
    for (const auto& [version, frames] : apart) {
      std::vector<std::string> other = path;
      other.back() += " (version " + hex_number(version).substr(0, 8) + ")";
      if (!model::valid_name(other.back())) other.back() = "file-" + hex_number(ino) + "-" + hex_number(version);
      Node alone;
      alone.has_name = node.has_name;
      add_file(ino, alone, *frames, std::move(other), false);
    }
  }
}

const Rebuild::Place* Rebuild::find_place(FrameRef& frame) const {
  for (int moves = 0; moves <= kMovesMost; ++moves) {
    if (auto it = packs_.find(frame.pack); it != packs_.end()) return &it->second;
    if (auto it = in_records_.find(frame.pack); it != in_records_.end()) return &it->second;
    auto next = moved_.find({frame.pack, frame.offset});
    if (next == moved_.end()) return nullptr;
    frame = next->second;
  }
  return nullptr;
}

void Rebuild::add_file(Ino, const Node& node, const Layer& layer, std::vector<std::string> path, bool sure) {
  RecoveredFile file;
  file.path = std::move(path);
  file.removed = !node.has_name;
  file.sure = sure;
  file.size = layer.empty() ? 0 : layer.rbegin()->second.end;
  if (node.size && sure) file.size = node.size->second;
  file.size = std::min(file.size, kEndMax);
  const size_t number = files_.size();
  for (const auto& [from, piece] : layer) {
    if (piece.hole || piece.end > file.size) continue;
    FrameRef frame = piece.frame;
    const Place* place = find_place(frame);
    if (!place) continue;
    file.known += piece.end - from;
    wanted_[place->key].push_back({number, from, piece.end - from, frame, piece.skip, piece.frame_length});
  }
  files_.push_back(std::move(file));
}

Result<uint64_t> Rebuild::read(const Sink& sink) {
  uint64_t damaged = 0;
  for (const auto& [key, list] : wanted_) {
    TRY(std::optional<Bytes> object, c_.get(key, kRecordMax, [](const Error&) {}));
    if (!object) {
      damaged += list.size();
      continue;
    }
    for (const Wanted& w : list) {
      const Place& place = packs_.contains(w.frame.pack) ? packs_[w.frame.pack] : in_records_[w.frame.pack];
      const uint64_t at = place.at + w.frame.offset;  // modulo 2^64
      Bytes plain(w.frame_length);
      bool good = w.frame_length <= kFrameMax && at <= object->size() && w.frame.length <= object->size() - at &&
                  uint64_t{w.skip} + w.length <= w.frame_length;
      if (good) {
        BytesView sealed = BytesView(*object).subspan(at, w.frame.length);
        good = blake2b(sealed) == w.frame.hash &&
               open_frame(c_.key_ring, c_.volume, w.frame.pack, w.frame.offset, sealed, plain).has_value();
      }
      if (!good) {
        ++damaged;
        files_[w.file].known -= w.length;
        continue;
      }
      TRYV(sink(w.file, w.offset, BytesView(plain).subspan(w.skip, w.length)));
    }
  }
  return damaged;
}

}  // namespace coffer
