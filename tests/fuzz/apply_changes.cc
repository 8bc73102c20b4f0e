// What a former device that kept its keys can do to everybody's tree: change sets that decode, whatever they say, one
// after the other on a small state. The tree stays sound, is the same on all replicas, and each can be undone.
#include <algorithm>

#include "crypto/hash.h"
#include "fs/model/apply.h"
#include "fs/model/history.h"
#include "fs/model/invariants.h"
#include "tests/fuzz/fuzz.h"
#include "tests/model/map_rows.h"
#include "tests/model/tracked.h"

namespace coffer::fuzz {
namespace {

using namespace model;

Extent extent(uint64_t offset, uint32_t length, uint8_t n) {
  Extent e;
  e.offset = offset;
  e.length = e.frame_length = length;
  e.frame.pack.bytes.fill(0xa0);
  e.frame.offset = n * 1000u;
  e.frame.length = length + 41;
  e.frame.hash.bytes.fill(n);
  return e;
}

// Inodes 2 to 9, versions from 0x10 on: numbers that a mutation finds.
MapRows small_state() {
  MapRows rows;
  WallTime now{1'700'000'000'000'000'000};
  make_root(rows, 0755, 0, 0, now);
  auto add = [&](Ino ino, Ino dir, std::string_view name, FileType type) {
    NewInode what;
    what.type = type;
    what.mode = 0755;
    if (type == FileType::kSymlink) what.target = "t";
    must(make(rows, dir, name, what, ino, type == FileType::kRegular ? 0x10 + ino : 0, now));
  };
  add(2, kRootIno, "d", FileType::kDirectory);
  add(3, 2, "e", FileType::kDirectory);
  add(4, kRootIno, "a", FileType::kRegular);
  add(5, 2, "b", FileType::kRegular);
  add(6, 3, "c", FileType::kRegular);
  add(7, kRootIno, "l", FileType::kSymlink);
  add(8, 3, "p", FileType::kFifo);
  add(9, kRootIno, "f", FileType::kDirectory);
  must(link(rows, 5, kRootIno, "h", now));
  std::vector<Extent> one{extent(0, 500, 1)};
  must(put_extents(rows, 4, one, 0, 0x20, now, false));
  std::vector<Extent> many{extent(0, 4096, 2), extent(kChunk - 10, 20, 3), extent(5 * kChunk, 100, 4)};
  must(put_extents(rows, 5, many, 6 * kChunk, 0x21, now, false));
  must(set_xattr(rows, 5, "user.a", as_bytes("v"), XattrMode::kAny, now));
  must(set_xattr(rows, 2, "user.b", as_bytes("w"), XattrMode::kAny, now));
  return rows;
}

// The same tree as another replica may have it, which handed out other cookies.
MapRows with_other_cookies(MapRows rows) {
  for (auto& [key, value] : rows.rows) {
    if (kind_of(key) != RowKind::kInode) continue;
    Inode i = must(decode_inode(value));
    if (i.is_directory()) i.next_cookie += 1000;
    value = encode(i);
  }
  return rows;
}

void require_sound(const MapRows& rows) {
  for (const std::string& fault : must(find_faults(rows))) require(false, fault);
}

}  // namespace

// (piece: a change set) *
void run(BytesView input) {
  static const MapRows kStart = small_state();
  MapRows rows = kStart;
  Input in(input);
  for (Generation generation = 1; !in.empty() && generation <= 6; ++generation) {
    Reader reader(in.piece());
    auto changes = decode_change_set(reader);
    if (!changes || !reader.at_end()) continue;
    Author author;
    author.record = blake2b(Bytes(1, static_cast<uint8_t>(generation)));
    author.device = "host";
    author.when = {1'700'000'000'000'000'000};

    MapRows other = with_other_cookies(rows);
    must(apply(other, *changes, author));
    const auto before = tracked(rows);
    Touched touched(generation);
    Transaction tx(rows, touched);
    must(apply(tx, *changes, author));
    rows.apply(must(tx.take()));
    require_sound(rows);
    require(must(tree_hash(rows)) == must(tree_hash(other)), "every replica has the same tree");
    MapRows undone = rows;
    if (touched.size() > 0) must(undo(undone, generation));
    require(tracked(undone) == before, "what was applied can be undone");
  }
}

}  // namespace coffer::fuzz
