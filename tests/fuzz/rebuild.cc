// What a former device that kept its keys can say in pack indexes and records, to who brings files back from them: pieces of
// files that lie over each other in every way, and directories that lead anywhere.
#include "fs/check/rebuild.h"

#include "cache/pack_index.h"
#include "crypto/hash.h"
#include "fs/sync/object_keys.h"
#include "remote/memory_store.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

constexpr uint32_t kPlain = 1000;  // bytes of the one frame that there is

VolumeSecrets secrets() {
  VolumeSecrets s;
  s.epoch_keys.emplace(1, Secret(BytesView(Bytes(32, 1))));  // of epoch_keys()
  s.signing_public = signing_key().public_key();
  return s;
}

// Numbers that meet: small ones, and such near the ends.
uint64_t number(Input& in) {
  const uint64_t kinds[] = {
      0, 500, kPlain, kFrameMax, uint64_t{1} << 20, uint64_t{1} << 43, model::kSizeMax - 2000, UINT64_MAX};
  uint8_t kind = in.byte();
  return kinds[kind % 8] + (kind < 128 ? in.byte() : 0);
}

class Ruins {
 public:
  Ruins() {
    frame_.pack = ObjectId();
    frame_.offset = 0;
    seal_frame(epoch_keys(), VolumeId(), frame_.pack, 0, Bytes(kPlain, 'x'), pack_);
    frame_.length = static_cast<uint32_t>(pack_.size());
    frame_.hash = blake2b(pack_);
  }

  void add(Input& in) {
    switch (in.byte() % 4) {
      case 0:
        index_.push_back(
            {frame_, ino(in), number(in), static_cast<uint32_t>(number(in)), in.byte() % 4u, ino(in), name(in)});
        break;
      case 1: {
        model::EntryChange e;
        e.dir = ino(in);
        e.name = name(in);
        e.before = in.byte() % 2 ? ino(in) : 0;
        e.after = in.byte() % 2 ? ino(in) : 0;
        e.type = in.byte() % 2 ? model::FileType::kDirectory : model::FileType::kRegular;
        changes_.entries.push_back(std::move(e));
        break;
      }
      case 2: {
        model::InodeChange i;
        i.ino = ino(in);
        i.content.emplace();
        i.content->base = 1;
        i.content->version = in.byte() % 4u;
        i.content->size = number(in);
        model::ContentPiece piece;
        piece.offset = number(in);
        piece.length = number(in);
        if (in.byte() % 2)
          piece.extent = model::Extent{piece.offset, static_cast<uint32_t>(piece.length), in.byte(), kPlain, frame_};
        i.content->pieces.push_back(piece);
        if (changes_.inodes.empty() || changes_.inodes.back().ino < i.ino) changes_.inodes.push_back(std::move(i));
        break;
      }
      default:
        end_record();
    }
  }

  void end_record() {
    Record record;
    record.stamp = ++stamp_;
    record.changes = std::exchange(changes_, {});
    record.packs.push_back({frame_.pack, false, 4096, 0, 0, 0});
    RecordName place{LogId(), stamp_ + 1, 0};
    auto sealed = seal_record(record, {}, VolumeId(), place.log, place.number, epoch_keys(), signing_key());
    if (sealed) must(store_.put(place.key(), sealed->object));
  }

  MemoryStore& finish() {
    end_record();
    Bytes object = pack_;
    Bytes end = seal_pack_end(encode_index(index_), static_cast<uint32_t>(object.size()), frame_.pack, VolumeId(),
                              epoch_keys());
    object.insert(object.end(), end.begin(), end.end());
    must(store_.put(pack_key(frame_.pack), object));
    return store_;
  }

 private:
  static model::Ino ino(Input& in) { return 1 + in.byte() % 6; }
  static std::string name(Input& in) {
    const char* const names[] = {"a", "b", "..", "", "a/b", "directory-0000000000000002", "files"};
    uint8_t which = in.byte();
    return which == 255 ? std::string(255, 'n') : names[which % 7];
  }

  MemoryStore store_;
  FrameRef frame_;
  Bytes pack_;
  std::vector<IndexEntry> index_;
  model::ChangeSet changes_;
  uint64_t stamp_ = 0;
};

}  // namespace

void run(BytesView input) {
  Input in(input);
  Ruins ruins;
  for (int i = 0; i < 100 && !in.empty(); ++i) ruins.add(in);
  MemoryStore& store = ruins.finish();
  const VolumeSecrets keys = secrets();
  Rebuild rebuild(store, keys, {});
  must(rebuild.scan());
  auto fit = [](const std::vector<std::string>& path) {
    for (const std::string& part : path) require(model::valid_name(part), "every part of a path is a name");
    require(!path.empty(), "a path is not empty");
  };
  for (const RecoveredFile& file : rebuild.files()) {
    fit(file.path);
    require(file.known <= file.size, "no more is found than there is");
  }
  for (const auto& path : rebuild.directories()) fit(path);
  std::map<size_t, std::map<uint64_t, uint64_t>> written;  // ends, by offset
  (void)must(rebuild.read([&](size_t file, uint64_t offset, BytesView bytes) -> Result<void> {
    require(file < rebuild.files().size(), "the file is one of them");
    require(offset + bytes.size() <= rebuild.files()[file].size && !bytes.empty(), "the bytes are inside the file");
    auto& ends = written[file];
    auto next = ends.lower_bound(offset);
    require(next == ends.end() || next->first >= offset + bytes.size(), "nothing is written twice");
    require(next == ends.begin() || std::prev(next)->second <= offset, "nothing is written twice");
    ends.emplace(offset, offset + bytes.size());
    return {};
  }));
}

}  // namespace coffer::fuzz
