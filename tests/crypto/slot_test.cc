#include "crypto/slot.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <cstdio>
#include <functional>

#include "crypto/associated_data.h"
#include "vectors.h"

namespace coffer {
namespace {

using testing::expect_same;
using testing::filled;
using testing::golden_secrets;
using testing::secret_of;

constexpr KdfCost kSmall{8 * 1024, 1};
constexpr size_t kHeaderSize = 179;
constexpr size_t kStatementSize = 300;

Secret golden_passphrase() { return secret_of("correct horse battery staple"); }
RecoveryKey golden_recovery_key() { return RecoveryKey::parse(as_string(testing::vector("recovery.text"))).value(); }

SlotNote golden_note() { return {"Anna's passphrase", {1'700'000'000'123'456'789}, "laptop"}; }

Code code_of(const Result<VolumeSecrets>& r) { return r ? Code::kInternal : r.error().code(); }

TEST(Slot, GoldenSlotsOpenForEver) {
  for (std::string version : {"slot", "slot2"}) {
    auto by_passphrase = open_passphrase_slot(testing::vector(version + ".passphrase"), golden_passphrase());
    ASSERT_TRUE(by_passphrase) << by_passphrase.error().what();
    expect_same(*by_passphrase, golden_secrets());
    auto by_recovery = open_recovery_slot(testing::vector(version + ".recovery"), golden_recovery_key());
    ASSERT_TRUE(by_recovery) << by_recovery.error().what();
    expect_same(*by_recovery, golden_secrets());
  }
}

// Not a test: prints a line for tests/vectors/crypto.txt when asked for by name.
TEST(Slot, DISABLED_PrintGoldenSlots) {
  std::printf("slot2.passphrase %s\n",
              hex(make_passphrase_slot(golden_secrets(), golden_passphrase(), kSmall, golden_note()).value()).c_str());
  std::printf("slot2.recovery %s\n",
              hex(make_recovery_slot(golden_secrets(), golden_recovery_key(), golden_note()).value()).c_str());
  const VolumeSecrets s = golden_secrets();
  std::printf("slot2.device %s\n",
              hex(make_device_slot(s, testing::signing_key(0x44).public_key(), golden_note()).value()).c_str());
  std::printf("slot.removal %s\n",
              hex(make_slot_removal(s.volume, *s.signing_secret, testing::golden_object())).c_str());
}

TEST(Slot, RoundTrip) {
  auto slot = make_passphrase_slot(golden_secrets(), golden_passphrase(), kSmall);
  ASSERT_TRUE(slot) << slot.error().what();
  EXPECT_EQ(slot->size(), kHeaderSize + kSealOverhead + 512 + kStatementSize);
  auto header = parse_slot_header(*slot);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->kind, SlotKind::kPassphrase);
  EXPECT_EQ(header->cost.memory_kib, kSmall.memory_kib);
  EXPECT_EQ(header->cost.passes, kSmall.passes);
  EXPECT_FALSE(header->id.is_zero());
  auto secrets = open_passphrase_slot(*slot, golden_passphrase());
  ASSERT_TRUE(secrets) << secrets.error().what();
  expect_same(*secrets, golden_secrets());

  auto again = make_passphrase_slot(golden_secrets(), golden_passphrase(), kSmall);
  EXPECT_NE(parse_slot_header(*again)->id, header->id);
  EXPECT_NE(parse_slot_header(*again)->slot_public, header->slot_public);  // another salt
}

TEST(Slot, AnotherSecretIsDenied) {
  Bytes slot = testing::vector("slot.passphrase");
  for (std::string_view wrong : {"", "correct horse battery stapl", "correct horse battery staple ", "Correct"})
    EXPECT_EQ(code_of(open_passphrase_slot(slot, secret_of(wrong))), Code::kDenied);
  EXPECT_EQ(code_of(open_recovery_slot(testing::vector("slot.recovery"), RecoveryKey::generate())), Code::kDenied);
  EXPECT_EQ(code_of(open_recovery_slot(slot, golden_recovery_key())), Code::kDenied);
  EXPECT_EQ(code_of(open_passphrase_slot(testing::vector("slot.recovery"), golden_passphrase())), Code::kDenied);
}

TEST(Slot, ManyEpochs) {
  VolumeSecrets many = golden_secrets();
  for (Epoch e = 3; e <= 300; ++e) many.epoch_keys.emplace(e, Secret::random(32));
  auto slot = make_recovery_slot(many, golden_recovery_key());
  ASSERT_TRUE(slot);
  auto opened = open_recovery_slot(*slot, golden_recovery_key());
  ASSERT_TRUE(opened) << opened.error().what();
  expect_same(*opened, many);
}

// Whoever runs the store can put a slot there that opens: as many keys as fit must not be more than memory can be had for.
TEST(Slot, ASlotOfTheLargestSizeOpens) {
  VolumeSecrets most = golden_secrets();
  for (Epoch e = 3; e <= 1780; ++e) most.epoch_keys.emplace(e, Secret::random(32));
  auto slot = make_recovery_slot(most, golden_recovery_key());
  ASSERT_TRUE(slot) << slot.error().what();
  ASSERT_GT(slot->size(), kMaxSlotSize - 1024);
  auto opened = open_recovery_slot(*slot, golden_recovery_key());
  ASSERT_TRUE(opened) << opened.error().what();
  expect_same(*opened, most);
  for (Epoch e = 1781; e <= 1830; ++e) most.epoch_keys.emplace(e, Secret::random(32));
  EXPECT_EQ(make_recovery_slot(most, golden_recovery_key()).error().code(), Code::kTooLarge);
}

TEST(Slot, RewrapGivesANewEpochWithoutThePassphrase) {
  for (bool passphrase : {true, false}) {
    Bytes old = testing::vector(passphrase ? "slot.passphrase" : "slot.recovery");
    VolumeSecrets more = golden_secrets();
    more.epoch_keys.emplace(3, filled(32, 0x66));
    auto fresh = rewrap_slot(more, old);
    ASSERT_TRUE(fresh) << fresh.error().what();
    auto before = parse_slot_header(old), after = parse_slot_header(*fresh);
    EXPECT_EQ(after->kind, before->kind);
    EXPECT_EQ(after->salt, before->salt);
    EXPECT_EQ(after->cost.memory_kib, before->cost.memory_kib);
    EXPECT_EQ(after->cost.passes, before->cost.passes);
    EXPECT_EQ(after->slot_public, before->slot_public);
    EXPECT_NE(after->id, before->id);
    auto opened = passphrase ? open_passphrase_slot(*fresh, golden_passphrase())
                             : open_recovery_slot(*fresh, golden_recovery_key());
    ASSERT_TRUE(opened) << opened.error().what();
    expect_same(*opened, more);
  }
}

// The store knows every slot's public key, so it can seal a volume of its own to it; it must not open.
TEST(Slot, AnotherVolumeSealedToTheSlotIsRefused) {
  VolumeSecrets theirs = golden_secrets();
  SigningKey key = SigningKey::generate();
  theirs.signing_public = key.public_key();
  theirs.signing_secret = std::move(key);
  auto forged = rewrap_slot(theirs, testing::vector("slot.recovery"));
  ASSERT_TRUE(forged);
  EXPECT_EQ(code_of(open_recovery_slot(*forged, golden_recovery_key())), Code::kCorrupt);

  VolumeSecrets other_id = golden_secrets();
  other_id.volume.bytes[0] ^= 1;
  auto moved = rewrap_slot(other_id, testing::vector("slot.recovery"));
  ASSERT_TRUE(moved);
  EXPECT_EQ(code_of(open_recovery_slot(*moved, golden_recovery_key())), Code::kCorrupt);
}

TEST(Slot, IncompleteSecretsAreRefused) {
  auto refused = [](const VolumeSecrets& s) {
    auto slot = make_recovery_slot(s, golden_recovery_key());
    return !slot && slot.error().code() == Code::kInvalid &&
           rewrap_slot(s, testing::vector("slot.recovery")).error().code() == Code::kInvalid;
  };
  VolumeSecrets s = golden_secrets();
  s.signing_secret.reset();
  EXPECT_TRUE(refused(s));
  s = golden_secrets();
  s.signing_public.bytes[0] ^= 1;
  EXPECT_TRUE(refused(s));
  s = golden_secrets();
  s.epoch_keys.clear();
  EXPECT_TRUE(refused(s));
  s = golden_secrets();
  s.epoch_keys.emplace(3, filled(31, 1));
  EXPECT_TRUE(refused(s));
  s = golden_secrets();
  s.epoch_keys.emplace(0, filled(32, 1));
  EXPECT_TRUE(refused(s));
}

TEST(Slot, CostsAreBounded) {
  auto code = [](KdfCost cost) {
    return make_passphrase_slot(golden_secrets(), golden_passphrase(), cost).error().code();
  };
  EXPECT_EQ(code({8 * 1024 - 1, 1}), Code::kInvalid);
  EXPECT_EQ(code({4 * 1024 * 1024 + 1, 1}), Code::kInvalid);
  EXPECT_EQ(code({8 * 1024, 0}), Code::kInvalid);
  EXPECT_EQ(code({8 * 1024, 65}), Code::kInvalid);
  EXPECT_EQ(make_passphrase_slot(golden_secrets(), Secret(), kSmall).error().code(), Code::kInvalid);

  auto asks = [](uint32_t memory_kib, uint32_t passes) {
    Bytes slot = testing::vector("slot.passphrase");
    Bytes cost;
    Writer w(cost);
    w.u32(memory_kib);
    w.u32(passes);
    std::ranges::copy(cost, slot.begin() + 11);
    return parse_slot_header(slot);
  };
  EXPECT_TRUE(asks(4 * 1024 * 1024, 64));
  for (auto [memory, passes] :
       {std::pair<uint32_t, uint32_t>{8191, 1}, {4194305, 1}, {UINT32_MAX, 1}, {8192, 0}, {8192, 65}, {0, 0}})
    EXPECT_EQ(asks(memory, passes).error().code(), Code::kCorrupt) << memory << " " << passes;
}

TEST(Slot, OtherVersionsAndKinds) {
  const Bytes slot = testing::vector("slot.recovery");
  auto with = [&](size_t at, uint8_t value) {
    Bytes b = slot;
    b[at] = value;
    return b;
  };
  EXPECT_EQ(parse_slot_header(with(8, 3)).error().code(), Code::kTooNew);
  EXPECT_EQ(parse_slot_header(with(9, 1)).error().code(), Code::kTooNew);
  EXPECT_EQ(parse_slot_header(with(8, 0)).error().code(), Code::kCorrupt);
  EXPECT_EQ(parse_slot_header(with(0, 'C')).error().code(), Code::kCorrupt);
  EXPECT_EQ(parse_slot_header(with(10, 4)).error().code(), Code::kTooNew);
  EXPECT_EQ(parse_slot_header(with(10, 0)).error().code(), Code::kCorrupt);
  EXPECT_EQ(parse_slot_header(with(11, 1)).error().code(), Code::kCorrupt);  // a cost where none is used
  EXPECT_EQ(parse_slot_header(with(10, 3))->kind, SlotKind::kDevice);
  EXPECT_EQ(code_of(open_recovery_slot(with(10, 3), golden_recovery_key())), Code::kDenied);
  EXPECT_EQ(parse_slot_header(Bytes(kMaxSlotSize + 512, 0)).error().code(), Code::kCorrupt);
}

TEST(Slot, EveryTruncationAndExtensionFails) {
  for (bool passphrase : {true, false}) {
    Bytes slot = testing::vector(passphrase ? "slot.passphrase" : "slot.recovery");
    for (size_t size = 0; size < slot.size(); ++size) {
      Bytes cut(slot.begin(),
                slot.begin() + static_cast<long>(size));  // its own memory, so that sanitizers see overruns
      EXPECT_EQ(parse_slot_header(cut).error().code(), Code::kCorrupt) << size;
      EXPECT_EQ(code_of(passphrase ? open_passphrase_slot(cut, golden_passphrase())
                                   : open_recovery_slot(cut, golden_recovery_key())),
                Code::kCorrupt);
    }
  }
  for (size_t extra : {1, 511, 512, 1024}) {
    Bytes slot = testing::vector("slot.recovery");
    slot.resize(slot.size() + extra);
    EXPECT_EQ(code_of(open_recovery_slot(slot, golden_recovery_key())), Code::kCorrupt) << extra;
  }
}

TEST(Slot, EveryFlippedByteFails) {
  const Bytes recovery = testing::vector("slot.recovery");
  for (size_t i = 0; i < recovery.size(); ++i) {
    Bytes bad = recovery;
    bad[i] ^= 1;
    auto r = open_recovery_slot(bad, golden_recovery_key());
    ASSERT_FALSE(r) << i;
    // Salt and slot public key decide whose slot it is; the rest is damage (or a kind or version unheard of).
    bool whose = i == 10 || (i >= 19 && i < 35) || (i >= 51 && i < 83);
    Code expected = whose ? Code::kDenied : Code::kCorrupt;
    EXPECT_TRUE(r.error().code() == expected || i == 8 || i == 9) << i << " " << r.error().what();
  }

  const Bytes slot = testing::vector("slot.passphrase");
  for (size_t i = 0; i < slot.size(); i += i < kHeaderSize ? 1 : 23) {
    Bytes bad = slot;
    bad[i] ^= 1;
    EXPECT_FALSE(open_passphrase_slot(bad, golden_passphrase())) << i;
  }
}

// Seals contents of the test's choosing to the golden recovery slot, as one who holds all keys could, and so reaches
// the checks behind the AEAD. `contents` gets the header and returns the plaintext.
Bytes seal_by_hand(const std::function<Bytes(BytesView header)>& contents) {
  Bytes object = testing::vector("slot.recovery");
  object.resize(kHeaderSize);
  MutableBytes ephemeral = MutableBytes(object).subspan(115, 32), commitment = MutableBytes(object).subspan(147, 32);
  BytesView slot_public = BytesView(object).subspan(51, 32), id = BytesView(object).subspan(35, 16);
  Bytes mine(32), shared(32), hashed, wrapping(32);
  crypto_box_keypair(ephemeral.data(), mine.data());
  EXPECT_EQ(crypto_scalarmult(shared.data(), mine.data(), slot_public.data()), 0);
  Writer w(hashed);
  w.raw(ephemeral);
  w.raw(slot_public);
  w.raw(id);
  crypto_generichash(wrapping.data(), 32, hashed.data(), hashed.size(), shared.data(), 32);
  std::string_view text = "coffer slot commitment";
  crypto_generichash(commitment.data(), 32, as_bytes(text).data(), text.size(), wrapping.data(), 32);
  Bytes sealed = AeadKey(Secret(BytesView(wrapping)))
                     .seal(associated_data(Sealed::kSlot, VolumeId{}, 0, id, 0, object), contents(object));
  object.insert(object.end(), sealed.begin(), sealed.end());
  return object;
}

struct Contents {
  uint8_t has = 1;
  Bytes signing_secret = to_bytes(testing::signing_key(0x33).secret().view());
  uint64_t count = 2;
  std::vector<std::pair<Epoch, size_t>> epochs{{1, 32}, {2, 32}};  // and sizes of their keys
  uint8_t signer = 0x33;
  uint8_t padding = 0;
  size_t size = 512;

  Bytes encode(BytesView header) const {
    Bytes out;
    Writer w(out);
    w.id(testing::golden_volume());
    w.id(testing::signing_key(0x33).public_key());
    w.u8(has);
    if (has != 0) w.raw(signing_secret);
    w.varint(count);
    for (auto [epoch, key_size] : epochs) {
      w.u32(epoch);
      w.raw(Bytes(key_size, static_cast<uint8_t>(epoch * 0x11)));
    }
    Bytes message = to_bytes(std::string_view("coffer slot contents\0", 21));
    Writer m(message);
    m.raw(header);
    m.raw(out);
    w.id(testing::signing_key(signer).sign(message));
    out.resize(size, padding);
    return out;
  }
};

Result<VolumeSecrets> open_by_hand(const Contents& c) {
  Bytes slot = seal_by_hand([&c](BytesView header) { return c.encode(header); });
  return open_recovery_slot(slot, golden_recovery_key());
}

TEST(Slot, ContentsMadeByHandOpen) {
  auto opened = open_by_hand({});
  ASSERT_TRUE(opened) << opened.error().what();
  expect_same(*opened, golden_secrets());
}

TEST(Slot, ContentsThatNobodyWritesAreCorrupt) {
  EXPECT_EQ(code_of(open_by_hand({.has = 0})), Code::kCorrupt);  // a device slot's contents
  EXPECT_EQ(code_of(open_by_hand({.has = 2})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.signing_secret = Bytes(64, 1)})), Code::kCorrupt);  // halves do not match
  EXPECT_EQ(code_of(open_by_hand({.signing_secret = to_bytes(testing::signing_key(0x34).secret().view())})),
            Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.count = 0, .epochs = {}})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.count = 1})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.count = 3})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.count = UINT64_MAX})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.epochs = {{2, 32}, {1, 32}}})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.epochs = {{1, 32}, {1, 32}}})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.epochs = {{0, 32}, {1, 32}}})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.epochs = {{1, 32}, {2, 31}}})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.padding = 1})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.size = 1024})), Code::kCorrupt);  // more padding than is needed
  EXPECT_EQ(code_of(open_by_hand({.size = 1000})), Code::kCorrupt);
  EXPECT_EQ(code_of(open_by_hand({.signer = 0x34})), Code::kCorrupt);  // the store's key under the volume's name
}

TEST(Slot, SignatureHoldsForItsHeaderOnly) {
  Bytes first_header;
  seal_by_hand([&](BytesView header) {
    first_header = to_bytes(header);
    return Contents{}.encode(header);
  });
  Bytes replayed = seal_by_hand([&](BytesView) { return Contents{}.encode(first_header); });
  EXPECT_EQ(code_of(open_recovery_slot(replayed, golden_recovery_key())), Code::kCorrupt);
}

TEST(SlotStatement, SaysWhoMadeIt) {
  const VolumeSecrets secrets = golden_secrets();
  for (const char* name : {"slot2.passphrase", "slot2.recovery"}) {
    Bytes slot = testing::vector(name);
    auto header = verify_slot(slot, secrets.volume, secrets.signing_public);
    ASSERT_TRUE(header) << header.error().what();
    EXPECT_EQ(header->epoch, 2u);
    auto note = read_slot_note(slot, secrets);
    ASSERT_TRUE(note) << note.error().what();
    EXPECT_EQ(*note, golden_note());
  }
  for (const char* name : {"slot.passphrase", "slot.recovery"}) {
    EXPECT_EQ(parse_slot_header(testing::vector(name))->epoch, std::nullopt);
    EXPECT_EQ(verify_slot(testing::vector(name), secrets.volume, secrets.signing_public).error().code(),
              Code::kUnsupported);
    EXPECT_EQ(read_slot_note(testing::vector(name), secrets).error().code(), Code::kUnsupported);
  }
  VolumeSecrets older = golden_secrets();
  older.epoch_keys.erase(2);
  EXPECT_EQ(read_slot_note(testing::vector("slot2.recovery"), older).error().code(), Code::kNotFound);
}

TEST(SlotStatement, EveryFlippedByteFails) {
  const VolumeSecrets secrets = golden_secrets();
  const Bytes slot = testing::vector("slot2.recovery");
  for (size_t i = 0; i < slot.size(); ++i) {
    Bytes bad = slot;
    bad[i] ^= 1;
    EXPECT_FALSE(verify_slot(bad, secrets.volume, secrets.signing_public)) << i;
  }
  for (size_t size = 0; size < slot.size(); size += size < kHeaderSize ? 1 : 7) {
    Bytes cut(slot.begin(), slot.begin() + static_cast<long>(size));
    EXPECT_FALSE(verify_slot(cut, secrets.volume, secrets.signing_public)) << size;
  }
}

// The store can make slots to which it holds the key. They must cost no key derivation and get no epoch.
TEST(SlotStatement, NobodyElseCanMakeOne) {
  const VolumeSecrets secrets = golden_secrets();
  VolumeSecrets theirs = golden_secrets();
  SigningKey key = SigningKey::generate();
  theirs.signing_public = key.public_key();
  theirs.signing_secret = std::move(key);
  Bytes planted = make_recovery_slot(theirs, RecoveryKey::generate(), golden_note()).value();
  EXPECT_EQ(verify_slot(planted, secrets.volume, secrets.signing_public).error().code(), Code::kCorrupt);
  EXPECT_EQ(rewrap_slot(golden_secrets(), planted).error().code(), Code::kCorrupt);

  // A member's statement under another slot, and a member's slot of another volume.
  Bytes first = make_recovery_slot(golden_secrets(), golden_recovery_key(), golden_note()).value();
  Bytes second = make_recovery_slot(golden_secrets(), golden_recovery_key(), golden_note()).value();
  std::copy(first.end() - kStatementSize, first.end(), second.end() - kStatementSize);
  EXPECT_EQ(verify_slot(second, secrets.volume, secrets.signing_public).error().code(), Code::kCorrupt);
  VolumeId other = secrets.volume;
  other.bytes[0] ^= 1;
  EXPECT_EQ(verify_slot(first, other, secrets.signing_public).error().code(), Code::kCorrupt);
}

TEST(SlotStatement, TellsTheStoreNothing) {
  Bytes a = make_recovery_slot(golden_secrets(), golden_recovery_key(), {}).value();
  Bytes b = make_recovery_slot(golden_secrets(), golden_recovery_key(), golden_note()).value();
  EXPECT_EQ(a.size(), b.size());
  std::string text(as_string(b));
  EXPECT_EQ(text.find("Anna"), std::string::npos);
  EXPECT_EQ(text.find("laptop"), std::string::npos);
}

TEST(SlotStatement, RewrappingKeepsTheNote) {
  VolumeSecrets more = golden_secrets();
  more.epoch_keys.emplace(3, filled(32, 0x66));
  Bytes fresh = rewrap_slot(more, testing::vector("slot2.passphrase")).value();
  EXPECT_EQ(read_slot_note(fresh, more).value(), golden_note());
  EXPECT_EQ(verify_slot(fresh, more.volume, more.signing_public)->epoch, 3u);
}

TEST(SlotStatement, LabelsAreForTerminals) {
  for (std::string_view good : {"", "Anna's passphrase", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91"})
    EXPECT_TRUE(valid_slot_label(good)) << good;
  for (std::string_view bad : {"a\nb", "\x1b[2J", "\x7f", "\xc2\x9b", "\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80"})
    EXPECT_FALSE(valid_slot_label(bad)) << hex(as_bytes(bad));
  EXPECT_TRUE(valid_slot_label(std::string(64, 'x')));
  EXPECT_FALSE(valid_slot_label(std::string(65, 'x')));
  EXPECT_EQ(make_recovery_slot(golden_secrets(), golden_recovery_key(), {"a\nb", {}, ""}).error().code(),
            Code::kInvalid);
}

TEST(DeviceSlot, GoldenSlotOpensForEver) {
  const VolumeSecrets expected = golden_secrets();
  auto opened = open_device_slot(testing::vector("slot2.device"), testing::signing_key(0x44), expected.volume,
                                 expected.signing_public);
  ASSERT_TRUE(opened) << opened.error().what();
  EXPECT_FALSE(opened->signing_secret);
  EXPECT_EQ(opened->epoch_keys.size(), expected.epoch_keys.size());
  for (const auto& [epoch, key] : expected.epoch_keys) EXPECT_TRUE(opened->epoch_keys.at(epoch).equal(key));
}

TEST(DeviceSlot, OpensForItsDeviceOnlyAndNothingOfItMayChange) {
  const VolumeSecrets s = golden_secrets();
  const SigningKey device = testing::signing_key(0x44);
  const Bytes slot = make_device_slot(s, device.public_key(), golden_note()).value();
  EXPECT_EQ(parse_slot_header(slot)->slot_public, device_slot_key(device.public_key()));
  EXPECT_EQ(read_slot_note(slot, s).value(), golden_note());
  EXPECT_EQ(code_of(open_device_slot(slot, testing::signing_key(0x45), s.volume, s.signing_public)), Code::kDenied);
  EXPECT_EQ(code_of(open_device_slot(slot, device, VolumeId(), s.signing_public)), Code::kCorrupt);
  for (size_t i = 8; i < slot.size(); i += 7) {
    Bytes bad = slot;
    bad[i] ^= 1;
    EXPECT_FALSE(open_device_slot(bad, device, s.volume, s.signing_public)) << i;
  }
  VolumeSecrets more = golden_secrets();
  more.epoch_keys.emplace(1 << 20, filled(32, 0x66));
  const Bytes again = rewrap_slot(more, slot).value();
  EXPECT_EQ(open_device_slot(again, device, s.volume, s.signing_public)->epoch_keys.size(), 3u);
  // Who has no signing key of the volume makes none that counts.
  VolumeSecrets forger = golden_secrets();
  forger.signing_secret = testing::signing_key(0x99);
  forger.signing_public = forger.signing_secret->public_key();
  const Bytes forged = make_device_slot(forger, device.public_key()).value();
  EXPECT_EQ(code_of(open_device_slot(forged, device, s.volume, s.signing_public)), Code::kCorrupt);
  EXPECT_EQ(make_device_slot(s, PublicKey()).error().code(), Code::kInvalid);
}

TEST(SlotRemoval, OnlyAMemberCanMakeOne) {
  const VolumeSecrets secrets = golden_secrets();
  EXPECT_EQ(make_slot_removal(secrets.volume, *secrets.signing_secret, testing::golden_object()),
            testing::vector("slot.removal"));
  const Bytes removal = testing::vector("slot.removal");
  EXPECT_TRUE(is_slot_removal(removal));
  EXPECT_FALSE(is_slot_removal(testing::vector("slot2.recovery")));
  EXPECT_EQ(verify_slot_removal(removal, secrets.volume, secrets.signing_public).value(), testing::golden_object());
  for (size_t i = 0; i < removal.size(); ++i) {
    Bytes bad = removal;
    bad[i] ^= 1;
    EXPECT_FALSE(verify_slot_removal(bad, secrets.volume, secrets.signing_public)) << i;
    Bytes cut(removal.begin(), removal.begin() + static_cast<long>(i));
    EXPECT_EQ(verify_slot_removal(cut, secrets.volume, secrets.signing_public).error().code(), Code::kCorrupt) << i;
  }
  VolumeId other = secrets.volume;
  other.bytes[0] ^= 1;
  EXPECT_EQ(verify_slot_removal(removal, other, secrets.signing_public).error().code(), Code::kCorrupt);
  Bytes forged = make_slot_removal(secrets.volume, SigningKey::generate(), testing::golden_object());
  EXPECT_EQ(verify_slot_removal(forged, secrets.volume, secrets.signing_public).error().code(), Code::kCorrupt);
}

TEST(Slot, PublicKeysOfSmallOrderAreRefused) {
  Bytes slot = testing::vector("slot.recovery");
  std::fill_n(slot.begin() + 115, 32, 0);  // the ephemeral key
  EXPECT_EQ(code_of(open_recovery_slot(slot, golden_recovery_key())), Code::kCorrupt);
  slot = testing::vector("slot.recovery");
  std::fill_n(slot.begin() + 51, 32, 0);  // the slot's own: rewrapping would seal to a key that everybody knows
  EXPECT_EQ(rewrap_slot(golden_secrets(), slot).error().code(), Code::kCorrupt);
}

TEST(Slot, DeviceSlotGetsNoSigningSecret) {
  // A device slot is a recovery slot's bytes with another kind here, so that its contents can be looked at.
  Bytes device = testing::vector("slot.recovery");
  device[10] = static_cast<uint8_t>(SlotKind::kDevice);
  auto fresh = rewrap_slot(golden_secrets(), device);
  ASSERT_TRUE(fresh) << fresh.error().what();
  EXPECT_EQ(parse_slot_header(*fresh)->kind, SlotKind::kDevice);

  RecoveryKey key = golden_recovery_key();
  Bytes derived(64), secret_key(32), public_key(32), shared(32), wrapping(32), input = to_bytes("coffer recovery slot");
  input.insert(input.end(), device.begin() + 19, device.begin() + 35);
  crypto_generichash(derived.data(), 64, input.data(), input.size(), key.bits().view().data(), 32);
  crypto_box_seed_keypair(public_key.data(), secret_key.data(), derived.data());
  EXPECT_EQ(crypto_scalarmult(shared.data(), secret_key.data(), fresh->data() + 115), 0);
  Bytes hashed(fresh->begin() + 115, fresh->begin() + 147);
  hashed.insert(hashed.end(), fresh->begin() + 51, fresh->begin() + 83);
  hashed.insert(hashed.end(), fresh->begin() + 35, fresh->begin() + 51);
  crypto_generichash(wrapping.data(), 32, hashed.data(), hashed.size(), shared.data(), 32);
  BytesView all(*fresh);
  auto plain = AeadKey(Secret(BytesView(wrapping)))
                   .open(associated_data(Sealed::kSlot, VolumeId{}, 0, all.subspan(35, 16), 0, all.first(kHeaderSize)),
                         all.subspan(kHeaderSize, all.size() - kHeaderSize - kStatementSize));
  ASSERT_TRUE(plain);
  EXPECT_EQ((*plain)[48], 0);
  EXPECT_TRUE(std::ranges::search(*plain, Bytes(32, 0x33)).empty());  // the seed
}

}  // namespace
}  // namespace coffer
