// Writes the seeds of the binary formats, the same ones every time: fuzz_make_corpus CHECKOUT. Seeds of text formats, and
// inputs that once did harm, were put there by hand and stay.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>

#include "cache/journal_block.h"
#include "cache/pack_index.h"
#include "crypto/hash.h"
#include "crypto/slot_contents.h"
#include "fs/replica/bookkeeping.h"
#include "fs/replica/journal_entry.h"
#include "fs/sync/archive_rows.h"
#include "fs/sync/checkpoint_loader.h"
#include "fs/sync/collection.h"
#include "fs/sync/kept_records.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/pairing.h"
#include "fs/sync/record_archive.h"
#include "fs/sync/revocation.h"
#include "fs/sync/rewriting.h"
#include "fs/sync/volume.h"
#include "tests/fuzz/fuzz.h"
#include "tests/model/samples.h"

namespace coffer::fuzz {

void run(BytesView) {}  // fuzz.cc wants one

namespace {

using namespace model;

std::string root;

void write(const std::string& target, const std::string& name, BytesView bytes) {
  std::string directory = root + "/tests/fuzz/corpus/" + target;
  std::filesystem::create_directories(directory);
  std::ofstream out(directory + "/" + name, std::ios::binary);
  out << as_string(bytes);
  require(out.good(), "cannot write");
}

// `which` in front.
Bytes tagged(uint8_t which, BytesView bytes) {
  Bytes out{which};
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

void put_piece(Bytes& out, BytesView bytes) {
  Writer w(out);
  w.u16(static_cast<uint16_t>(bytes.size()));
  w.raw(bytes);
}

Bytes encoded(const ChangeSet& set) {
  Bytes bytes;
  Writer w(bytes);
  model::encode(set, w);
  return bytes;
}

Bytes golden_slot(const std::string& name) {
  std::ifstream in(root + "/tests/vectors/crypto.txt");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + " ")) return must(unhex(line.substr(line.rfind(' ') + 1)));
  require(false, "no such vector");
  return {};
}

void slots() {
  write("slot", "passphrase_object", tagged(0, golden_slot("slot.passphrase")));
  write("slot", "recovery_object", tagged(0, golden_slot("slot.recovery")));
  write("slot", "stated_object", tagged(0, golden_slot("slot2.recovery")));
  write("slot", "removal", tagged(0, golden_slot("slot.removal")));
  VolumeSecrets secrets;
  secrets.signing_public = signing_key().public_key();
  secrets.signing_secret = must(SigningKey::from_secret(signing_key().secret().clone()));
  for (Epoch e : {1, 2, 7}) secrets.epoch_keys.emplace(e, Secret(BytesView(Bytes(32, static_cast<uint8_t>(e)))));
  for (uint8_t kind : {1, 2, 3}) {
    Secret contents = encode_slot_contents(secrets, static_cast<SlotKind>(kind), Bytes(179, 7));
    write("slot", "contents_" + std::to_string(kind), tagged(kind, contents.view()));
  }
}

void revocations() {
  Revocation revocation;
  revocation.made = {1'700'000'000'000'000'000};
  revocation.accepted = {{LogId::from(Bytes(LogId::kSize, 1)), 3, Hash()},
                         {LogId::from(Bytes(LogId::kSize, 2)), 1, Hash()}};
  revocation.kept = {DeviceId::from(Bytes(DeviceId::kSize, 4))};
  const VolumeId volume = VolumeId::from(Bytes(VolumeId::kSize, 1));
  write("revocation", "object", tagged(0, must(make_revocation(revocation, volume, signing_key()))));
  Revocations all;
  all.add(revocation);
  write("revocation", "row", tagged(1, all.encode()));
}

void encode_certificate(Writer& w, bool vouched_for) {
  auto own = DeviceCertificate::issue(signing_key(), VolumeId{}, DeviceId{}, signing_key().public_key(), 1);
  if (vouched_for) own = must(DeviceCertificate::vouch(own, signing_key(), VolumeId{}, own.key, 1));
  own.encode(w);
  if (vouched_for) own.encode_vouchers(w);
}

// The body of a record, which only the record's own file can write: what of the sealed form is before its seal.
Bytes record_body(bool opening, bool carries, bool vouched_for = false) {
  Bytes body;
  Writer w(body);
  w.u16(1);
  w.u64(opening ? 1 : 5);
  w.raw(Bytes(Hash::kSize, 0));
  w.u64(1'700'000'000'000'000'000);
  w.u8(vouched_for ? 9 : opening ? 1 : 0);
  if (opening) {
    encode_certificate(w, vouched_for);
    w.string("host");
    w.raw(Bytes(LogId::kSize + 8 + Hash::kSize, 0));
  }
  w.varint(1);  // heads
  w.raw(Bytes(LogId::kSize, 5));
  w.varint(3);
  w.raw(Bytes(Hash::kSize, 6));
  w.varint(2);  // packs
  w.raw(Bytes(ObjectId::kSize, 0xa0));
  w.u8(0);
  w.varint(1 << 20);
  w.raw(Bytes(ObjectId::kSize, 0xa1));
  w.u8(carries ? 1 : 0);
  if (carries) w.varint(0);
  if (carries) w.varint(4096);
  w.varint(carries ? 8 : 70'000);
  if (carries) w.id(blake2b(as_bytes("carried!")));
  w.u8(0);
  model::encode(sample_changes(), w);
  w.raw(Bytes(Signature::kSize, 9));
  return body;
}

void records() {
  for (bool opening : {false, true}) {
    for (bool carries : {false, true}) {
      Bytes out{1, static_cast<uint8_t>(opening ? 1 : 2)};
      put_piece(out, as_bytes(carries ? "carried!" : ""));
      Writer(out).raw(record_body(opening, carries));
      write("record", std::string(opening ? "first" : "later") + (carries ? "_carrying" : ""), out);
    }
  }
  Bytes out{1, 1};
  put_piece(out, {});
  Writer(out).raw(record_body(true, false, true));
  write("record", "first_vouched_for", out);
}

// A root directory with one file in it, its pack, and a link.
void checkpoints() {
  Bytes rows;
  Writer w(rows);
  auto row = [&](const RowKey& key, const Bytes& value) {
    w.string(key.bytes);
    w.bytes(value);
  };
  Inode directory = sample_directory(), file = sample_file();
  directory.parent = directory.cookie = 0;
  directory.nlink = 2;
  file.parent = kRootIno;
  file.cookie = kFirstCookie;
  file.nlink = 2;
  row(entry_key(kRootIno, kFirstCookie), encode(Entry{"name", 2, FileType::kRegular}));
  row(entry_key(kRootIno, kFirstCookie + 1), encode(Entry{"other", 2, FileType::kRegular}));
  row(inode_key(kRootIno), encode(directory));
  row(inode_key(2), encode(file));
  row(link_key(2, kRootIno, kFirstCookie + 1), {});
  row(clear_key(place_row_key(ObjectId{})), encode_place({"obj/00/00", 0, 4096}));
  write("checkpoint", "rows", tagged(4, rows));

  Bytes segment;
  Writer s(segment);
  s.u8(1);
  s.u8(0);
  s.u32(static_cast<uint32_t>(rows.size()));
  s.u32(static_cast<uint32_t>(rows.size()));
  s.raw(rows);
  write("checkpoint", "segment", tagged(3, segment));

  for (bool vouched_for : {false, true}) {
    Bytes body;
    Writer b(body);
    b.u16(vouched_for ? 2 : 1);
    b.u64(5);
    b.u64(3);
    b.u64(1'700'000'000'000'000'000);
    encode_certificate(b, vouched_for);
    b.u64(6);
    b.varint(1);
    b.raw(Bytes(ObjectId::kSize + 2 * Hash::kSize, 7));
    b.varint(4096);
    b.varint(rows.size());
    b.varint(6);
    b.string("E1");
    b.raw(Bytes(Signature::kSize, 9));
    Bytes root_plain;
    Writer r(root_plain);
    r.u32(static_cast<uint32_t>(body.size()));
    r.raw(body);
    write("checkpoint", vouched_for ? "root_vouched_for" : "root", tagged(2, root_plain));
  }
}

void rows() {
  auto put = [](uint8_t which, const std::string& name, BytesView bytes) {
    write("model_rows", name, tagged(which, bytes));
  };
  put(0, "file", encode(sample_file()));
  put(0, "large_file", encode(sample_large_file()));
  put(0, "directory", encode(sample_directory()));
  put(0, "symlink", encode(sample_symlink()));
  put(0, "device", encode(sample_device()));
  put(1, "entry", encode(Entry{"name", 0x1234, FileType::kFifo}));
  put(2, "extents", encode(sample_extents()));
  put(3, "xattrs", encode(sample_xattrs()));
  put(4, "tombstone", encode(sample_tombstone()));
  put(5, "displaced", encode(sample_displaced()));
  put(6, "bitmap", encode(Bitmap{}));
  put(7, "history", encode(sample_history()));
  put(8, "number", encode_number(300));
  put(9, "entry_key", as_bytes(entry_key(2, 3).bytes));
  put(9, "chunk_key", as_bytes(chunk_key(2, 3).bytes));
  put(9, "displaced_key", as_bytes(displaced_key(2, 3).bytes));

  AppliedRecord applied;
  applied.first = applied.last = 3;
  applied.record.author.device = "host";
  applied.record.changes = sample_changes();
  LogTail tail;
  tail.number = 5;
  tail.name = "host";
  tail.seen[LogId{}] = {4, 7};
  auto local = [](uint8_t which, const std::string& name, BytesView bytes) {
    write("local_rows", name, tagged(which, bytes));
  };
  local(0, "state", encode(ReplicaState{3, 5}));
  local(1, "applied", encode(applied));
  local(2, "place", encode(PackPlace{"obj/ab/cd", 4, 1000}));
  local(3, "outgoing", encode(Replica::Outgoing{"log/x", Bytes{1, 2, 3}}));
  local(4, "tail", encode(tail));
  Bytes row;
  Writer(row).string("I12345678");
  Writer(row).string("value");
  local(5, "row", row);
  Bytes identity{1};
  Writer w(identity);
  w.string("host");
  DeviceCertificate::issue(signing_key(), VolumeId{}, DeviceId{}, signing_key().public_key(), 1).encode(w);
  w.raw(signing_key().secret().view());
  local(6, "identity", identity);
  identity[0] = 2;
  w.u8(0);
  encode_heads(w, {{{LogId{}, 3, Hash{}}, "host"}});
  local(6, "identity_let_in", identity);
  local(7, "dead", encode(DeadObject{DeadObject::Kind::kSegment, 1000, WallTime{5}}));
  local(8, "collection", encode(Collection{WallTime{5}, {1, 2}, {3, 4}, {5, 6}, {7, 8}}));
  local(11, "rewriting", encode(Rewriting{Rewriting::Phase::kDone, 7, WallTime{5}, WallTime{6}, true, 0, 0, 0}));
  local(9, "dead_key", to_bytes(dead_object_key(ObjectId{}).bytes));
  local(12, "archive_seen", encode_archive_seen(WallTime{5}));
  local(10, "kept_record", encode(KeptRecord{{LogId{}, 5, 7}, 4096, WallTime{5}}));
}

void cache() {
  IndexEntry entry;
  entry.frame = {ObjectId{}, 10, 100, Hash{}};
  entry.inode = 5;
  entry.length = 60;
  entry.name = "file";
  Bytes index{1};
  Writer(index).u32(4096);
  Writer(index).raw(encode_index({entry, entry}));
  write("pack_index", "two_entries", index);

  write("frame", "plain", tagged(0, Bytes(300, 'x')));
  for (size_t size : {1, 300, 65536}) {
    Bytes frame;
    Bytes plain(size, 'y');
    for (size_t i = 0; i < size; i += 7) plain[i] = static_cast<uint8_t>(i);
    prepare_frame(plain, frame);
    Bytes out{1, static_cast<uint8_t>(size - 1), static_cast<uint8_t>((size - 1) >> 8)};
    Writer(out).raw(BytesView(frame).subspan(24, frame.size() - kSealOverhead));
    write("frame", "sealed_" + std::to_string(size), out);
  }

  write("journal", "header", tagged(0, BytesView(encode_journal_header({ObjectId{}, 7})).first(64)));
  std::vector<RowPut> puts{{inode_key(5), encode(sample_file())}, {name_key(1, "n"), std::nullopt}};
  std::vector<Extent> frames = sample_extents();
  Bytes journal_entry = encode_journal_entry(puts, frames);
  Bytes block;
  Writer w(block);
  w.u64(7);
  w.u64(6);
  w.u32(2);
  w.bytes(journal_entry);
  w.bytes(Bytes(3, 1));
  write("journal", "block", tagged(2, block));
  write("journal", "entry", tagged(3, journal_entry));
  std::vector<RecentFrame> recent{{ObjectId{}, 4096, Bytes(50, 1)}};
  write("journal", "recent_frames", tagged(3, encode_journal_entry({}, {}, recent)));
}

// Change sets about the small state of apply_changes.cc, at random.
class RandomChanges {
 public:
  explicit RandomChanges(uint64_t seed) : random_(seed) {}

  ChangeSet make() {
    for (;;) {
      ChangeSet set;
      for (Ino ino = 1; ino <= 14; ++ino)
        if (below(4) == 0) set.inodes.push_back(inode(ino));
      for (uint64_t n = below(6); n > 0; --n) set.entries.push_back(entry());
      if (is_well_formed(set) && !set.empty()) return set;
    }
  }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }
  std::string name() { return std::string(1, "abcdefhlp"[below(9)]); }
  Ino ino() { return 1 + below(14); }
  Version version() { return 0x10 + below(0x14); }

  InodeChange inode(Ino ino) {
    InodeChange c;
    c.ino = ino;
    c.kind = static_cast<InodeChange::Kind>(ino > 9 ? 1 : 1 + below(3));
    bool directory = ino <= 3 || ino == 9 || below(5) == 0;
    c.type = directory ? FileType::kDirectory : FileType::kRegular;
    if (c.kind == InodeChange::Kind::kRemoved) {
      c.removed_version = directory ? 0 : version();
      return c;
    }
    c.mode = 0700;
    if (c.kind == InodeChange::Kind::kMade) {
      c.uid = c.gid = 0;
      c.atime = c.mtime = c.ctime = c.btime = WallTime{5};
    }
    if (c.type == FileType::kRegular) {
      ContentChange& content = c.content.emplace();
      if (c.kind == InodeChange::Kind::kChanged) content.base = version();
      content.version = version();
      content.size = below(2) == 0 ? 2000 : 8 * kChunk;
      content.pieces.push_back({0, 100, std::nullopt});
      Extent e = sample_extent(500, 300, static_cast<uint8_t>(below(4)));
      content.pieces.push_back({500, 300, e});
      if (below(4) == 0) c.origin = 1 + ino % 14;
    }
    if (below(4) == 0) c.xattrs = {{"user.a", Bytes{1}}};
    return c;
  }

  EntryChange entry() {
    static constexpr Ino kDirectories[] = {kRootIno, 2, 3, 9, 10, 11};
    EntryChange e;
    e.dir = kDirectories[below(std::size(kDirectories))];
    e.name = name();
    if (below(3) != 0) e.before = ino();
    if (below(3) != 0) e.after = ino();
    return e;
  }

  std::mt19937_64 random_;
};

// What apply_changes.cc has, sealed anew: all of it, then parts of that again beside changes of the same files.
Bytes moves_of_small_state() {
  auto frame = [](uint8_t pack, uint32_t offset, uint32_t length) {
    FrameRef f{{}, offset, length + 41, {}};
    f.pack.bytes.fill(pack);
    f.hash.bytes.fill(pack);
    return f;
  };
  auto move = [&](Ino ino, uint64_t offset, uint32_t length, uint8_t n, uint8_t from, uint8_t to) {
    Move m{ino, {}, n * 1000u, {offset, length, 0, length, frame(to, n * 100u, length)}};
    m.pack.bytes.fill(from);
    if (to != 0xb0) m.offset = n * 100u;
    return m;
  };
  ChangeSet all, again;
  all.moves = {move(4, 0, 500, 1, 0xa0, 0xb0), move(5, 0, 4096, 2, 0xa0, 0xb0), move(5, kChunk - 10, 20, 3, 0xa0, 0xb0),
               move(5, 5 * kChunk, 100, 4, 0xa0, 0xb0)};
  again = RandomChanges(3).make();
  again.moves = {move(4, 0, 500, 1, 0xb0, 0xc0), move(5, 5 * kChunk, 100, 4, 0xb0, 0xc0)};
  Bytes out;
  put_piece(out, encoded(all));
  put_piece(out, encoded(RandomChanges(2).make()));
  put_piece(out, encoded(again));
  return out;
}

void changes() {
  write("change_set", "sample", encoded(sample_changes()));
  write("change_set", "empty", encoded({}));
  ChangeSet moves;
  moves.moves = sample_moves();
  write("change_set", "moves", encoded(moves));
  write("apply_changes", "moves", moves_of_small_state());
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    RandomChanges random(seed);
    Bytes out;
    for (int i = 0; i < 4; ++i) put_piece(out, encoded(random.make()));
    write("apply_changes", "random_" + std::to_string(seed), out);
  }
}

void pairing() {
  const PairingWait wait = PairingWait::begin(VolumeId{}, WallTime{5});
  write("pairing", "request", tagged(0, wait.request()));
  write("pairing", "answer", tagged(1, must(seal_pairing_answer(wait.request(), wait.code(), Secret(as_bytes("x"))))));
  write("pairing", "typed", tagged(3, wait.code().text().view()));
  HandedOver handed_over;
  handed_over.secrets.signing_public = signing_key().public_key();
  handed_over.secrets.epoch_keys.emplace(1, Secret(BytesView(Bytes(32, 1))));
  const auto by = DeviceCertificate::issue(signing_key(), VolumeId{}, DeviceId{}, signing_key().public_key(), 1);
  handed_over.certificate =
      must(DeviceCertificate::vouch(by, signing_key(), VolumeId{}, wait.signing().public_key(), 1));
  handed_over.by = "host";
  handed_over.heads = {{{LogId{}, 3, Hash{}}, "host"}};
  write("pairing", "contents", tagged(2, encode(handed_over).view()));
}

void store() {
  VolumeHead head;
  head.volume.bytes.fill(1);
  head.signing_public.bytes.fill(2);
  write("volume_head", "head", encode(head));
  const Bytes archive = make_archive(
      ObjectId{},
      std::vector<std::pair<RecordName, Bytes>>{{RecordName{LogId{}, 2, 7}, Bytes(5)},
                                                {RecordName{LogId{}, 1, 6}, Bytes(3)},
                                                {RecordName{LogId::from(Bytes(LogId::kSize, 1)), 300, 8}, Bytes(4)}});
  Bytes whole{0}, index{1};
  Writer(whole).raw(archive);
  Writer(index).raw(BytesView(archive).subspan(30, must(archive_index_size(archive)) - 30 - Hash::kSize));
  write("archive", "object", whole);
  write("archive", "index", index);
  RecordName name;
  name.number = 17;
  name.tag = 0xabcdef;
  write("object_keys", "record", as_bytes(name.key()));
  write("object_keys", "archive", as_bytes(archive_key(ObjectId{})));
  write("object_keys", "log", as_bytes(log_prefix(LogId{})));
  write("object_keys", "hint", as_bytes(name.hint()));
  write("object_keys", "answer", as_bytes(pair_answer_key(ObjectId{})));
  write("object_keys", "checkpoint", as_bytes(CheckpointName{17, ObjectId{}}.hint()));
}

}  // namespace
}  // namespace coffer::fuzz

int main(int argc, char** argv) {
  using namespace coffer::fuzz;
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " CHECKOUT\n";
    return 2;
  }
  require(coffer::crypto_init().has_value(), "libsodium does not start");
  root = argv[1];
  slots();
  revocations();
  records();
  checkpoints();
  rows();
  cache();
  changes();
  pairing();
  store();
}
