// A revoked device that has kept everything: its key, its certificate, the keys of the epochs that it had, and the store.
#include <gtest/gtest.h>

#include "base/failpoint.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "tests/sync/rotating.h"

namespace coffer::test {
namespace {

class RevocationTest : public RotatingTest {
 protected:
  struct Watched {
    std::unique_ptr<MemorySlots> slots = std::make_unique<MemorySlots>();
    std::unique_ptr<Device> device;
    Device* operator->() { return device.get(); }
  };
  Watched watching(const std::string& name, std::shared_ptr<ObjectStore> store = nullptr) {
    Watched w;
    SyncOptions options = quick_options();
    options.slot_copies = w.slots.get();
    w.device = std::make_unique<Device>(volume_, store ? store : memory_, name, options);
    w->start();
    return w;
  }
  VolumeSecrets secrets() { return unlock(head_, read_slots(*memory_).value(), pass("word")).value(); }
  Result<void> put_revocation_of(Device& device) {
    const Member member{device.identity().device, device.identity().certificate.key, device.identity().name};
    Revocation revocation;
    revocation.device = member.device;
    TRY(revocation.accepted, accepted_heads(*memory_, secrets(), member));
    return put_revocation(*memory_, head_, secrets(), {}, revocation);
  }
  void revoke(Device& device) {
    ASSERT_OK(put_revocation_of(device));
    rotate();
  }
  static void wait_for_revocation(std::initializer_list<Device*> devices, const DeviceId& of) {
    for (Device* d : devices)
      wait_until([&] {
        for (const DeviceStatus& s : d->sync_engine().status().devices)
          if (s.device == of && s.revoked) return true;
        return false;
      });
  }
  static bool has(Device& device, const std::string& path) { return device.find(path).has_value(); }

  // A record of the revoked device, made by hand with all that it has: after what its log holds in the store, or as the
  // first of a log of its own.
  struct Forged {
    LogId log;
    uint64_t number = 1;
    Record record;
  };
  void publish(const Device& author, Forged forged, const std::string& file) {
    forged.record.when = {1};
    model::InodeChange made;
    made.ino = (uint64_t{1} << 62) | (random_u64() >> 2);
    made.kind = model::InodeChange::Kind::kMade;
    made.type = model::FileType::kRegular;
    made.mode = 0644;
    made.uid = made.gid = 0;
    made.atime = made.mtime = made.ctime = made.btime = WallTime{1};
    made.content = model::ContentChange{};
    made.content->version = random_u64();
    model::EntryChange entry;
    entry.dir = model::kRootIno;
    entry.name = file;
    entry.after = made.ino;
    entry.type = model::FileType::kRegular;
    forged.record.changes.inodes.push_back(std::move(made));
    forged.record.changes.entries.push_back(std::move(entry));
    const EpochKeys old(1, volume_.key);
    TAKE(SealedRecord sealed,
         seal_record(forged.record, {}, volume_.id, forged.log, forged.number, old, author.identity().key));
    const RecordName name{forged.log, forged.number, random_u64()};
    memory_->plant(name.key(), sealed.object);
    memory_->plant(name.hint(), {});
  }
  Forged new_log(const Device& author) {
    Forged f;
    f.log = random_id<LogId>();
    f.record.opening.emplace();
    f.record.opening->certificate = author.identity().certificate;
    f.record.opening->device_name = "forger";
    f.record.stamp = 1;  // before everything
    return f;
  }
  Forged next_of(Device& seen_by, const Device& author) {
    Forged f;
    for (const LogTail& tail : seen_by.logs()) {
      if (tail.device != author.identity().device || !tail.open()) continue;
      f.log = tail.log;
      f.number = tail.number + 1;
      f.record.previous = tail.hash;
      f.record.stamp = tail.stamp + 1;
    }
    return f;
  }
};

TEST_F(RevocationTest, ObjectsHoldWhatTheySayAndNothingElse) {
  Revocation r;
  r.device = random_id<DeviceId>();
  r.made = {5};
  r.accepted = {{random_id<LogId>(), 3, Hash()}, {random_id<LogId>(), 9, Hash()}};
  r.kept = {random_id<DeviceId>(), random_id<DeviceId>()};
  TAKE(Bytes object, make_revocation(r, head_.volume, volume_.signing));
  EXPECT_TRUE(is_revocation(object));
  TAKE(Revocation back, verify_revocation(object, head_.volume, head_.signing_public));
  EXPECT_EQ(back.device, r.device);
  EXPECT_EQ(back.accepted.size(), 2u);
  EXPECT_EQ(back.kept.size(), 2u);
  for (size_t i = 0; i < object.size(); ++i) {
    Bytes bad = object;
    bad[i] ^= 1;
    EXPECT_FALSE(verify_revocation(bad, head_.volume, head_.signing_public)) << i;
    EXPECT_FALSE(verify_revocation(BytesView(object).first(i), head_.volume, head_.signing_public)) << i;
  }
  EXPECT_FALSE(verify_revocation(object, random_id<VolumeId>(), head_.signing_public));
  EXPECT_CODE(Code::kCorrupt, verify_revocation(make_revocation(r, head_.volume, SigningKey::generate()).value(),
                                                head_.volume, head_.signing_public));
}

// As coffer-format(5) has it, byte for byte; the hash is by another implementation.
TEST_F(RevocationTest, GoldenBytes) {
  const VolumeId volume = fixed_id<VolumeId>(1);
  const SigningKey signing = fixed_signing_key(2);
  Revocation r;
  r.device = fixed_id<DeviceId>(4);
  r.made = {1'700'000'000'000'000'000};
  for (uint8_t b : {6, 5}) r.accepted.push_back({fixed_id<LogId>(b), b * 100u, fixed_id<Hash>(b + 0x10)});
  r.kept = {fixed_id<DeviceId>(9)};
  auto written = [&](const ObjectId& id) {
    Bytes out = to_bytes("coffrevo");
    Writer w(out);
    w.u16(1);
    w.id(id);
    w.id(r.device);
    w.u64(static_cast<uint64_t>(r.made.ns));
    w.varint(2);
    for (uint8_t b : {5, 6}) {
      w.id(fixed_id<LogId>(b));
      w.u64(b * 100u);
      w.id(fixed_id<Hash>(b + 0x10));
    }
    w.varint(1);
    w.id(r.kept.front());
    w.id(signing.sign(volume_message({"coffer revocation\0", 18}, volume, out)));
    return out;
  };
  TAKE(Bytes object, make_revocation(r, volume, signing));
  TAKE(Revocation made, verify_revocation(object, volume, signing.public_key()));
  EXPECT_EQ(hex(object), hex(written(made.id)));
  const Bytes fixed = written(fixed_id<ObjectId>(3));
  EXPECT_EQ(blake2b(fixed).str(), "6c37ff3f53ddf6f65ba0262b2765aafc01aeb7b6d85f91b90a49e51cd6b430e9");
  TAKE(Revocation back, verify_revocation(fixed, volume, signing.public_key()));
  EXPECT_EQ(back.accepted.front().log, fixed_id<LogId>(5));
  EXPECT_EQ(back.kept, r.kept);
}

TEST_F(RevocationTest, OfSeveralTheGreatestNumberCountsInAnyOrder) {
  LogTail log;
  log.device = random_id<DeviceId>();
  log.log = random_id<LogId>();
  log.number = 9;
  Hash third, fifth;
  third.bytes[0] = 3;
  fifth.bytes[0] = 5;
  Revocation a, b;
  a.device = b.device = log.device;
  a.accepted = {{log.log, 3, third}};
  b.accepted = {{log.log, 5, fifth}};
  Revocations ab, ba, none;
  ab.add(a), ab.add(b);
  ba.add(b), ba.add(a);
  EXPECT_EQ(ab.encode(), ba.encode());
  EXPECT_EQ(ab.last_valid(log), 5u);
  EXPECT_FALSE(ab.is_void(log, 5, fifth));
  EXPECT_TRUE(ab.is_void(log, 5, third));  // another record of that number
  EXPECT_TRUE(ab.is_void(log, 6, Hash()));
  EXPECT_FALSE(none.is_void(log, 6, Hash()));
  EXPECT_FALSE(ab.same_for(none, {log}));
  log.number = 5;
  EXPECT_TRUE(ab.same_for(none, {log}));
  log.log = random_id<LogId>();
  EXPECT_EQ(ab.last_valid(log), 0u);
  TAKE(Revocations again, Revocations::decode(ab.encode()));
  EXPECT_EQ(again.encode(), ab.encode());
}

TEST_F(RevocationTest, WhomItVouchesForGoesWithItUnlessItIsKept) {
  Revocation r;
  r.device = random_id<DeviceId>();
  LogTail kept, other;
  kept.device = random_id<DeviceId>();
  other.device = random_id<DeviceId>();
  kept.vouchers = other.vouchers = {random_id<DeviceId>(), r.device};
  kept.log = other.log = random_id<LogId>();
  kept.number = other.number = 4;
  r.kept = {kept.device};
  Revocations all;
  all.add(r);
  EXPECT_FALSE(all.revoked(kept));
  EXPECT_EQ(all.last_valid(kept), UINT64_MAX);
  EXPECT_TRUE(all.revoked(other));
  EXPECT_EQ(all.last_valid(other), 0u);
  EXPECT_TRUE(all.is_void(other, 1, Hash()));
  // Its own revocation names records; but it is no member any more.
  Revocation of_other;
  of_other.device = other.device;
  of_other.accepted = {{other.log, 4, Hash()}};
  all.add(of_other);
  EXPECT_EQ(all.last_valid(other), 0u);
}

TEST_F(RevocationTest, WhatItPublishedBeforeStaysAndNothingLaterCounts) {
  auto a = watching("a"), b = watching("b"), c = watching("c");
  a->write("a", noise(100, 1));
  b->write("b", noise(100, 2));
  c->write("c before", noise(100, 3));
  settle({a.device.get(), b.device.get(), c.device.get()});
  const DeviceId id = c->identity().device;
  // As long as it is a member, all of that works.
  publish(*c.device, new_log(*c.device), "early");
  wait_until([&] { return has(*a.device, "early") && has(*b.device, "early"); });
  revoke(*c.device);
  wait_for_revocation({a.device.get(), b.device.get()}, id);
  // With its log as it is, with a new log that sorts before everything, and with the old keys for all of it.
  publish(*c.device, next_of(*a.device, *c.device), "after");
  publish(*c.device, new_log(*c.device), "backdated");
  a->write("a more", noise(100, 4));
  settle({a.device.get(), b.device.get()});
  for (Device* d : {a.device.get(), b.device.get()}) {
    EXPECT_TRUE(has(*d, "c before"));
    EXPECT_TRUE(has(*d, "early"));
    EXPECT_TRUE(has(*d, "a more"));
    EXPECT_FALSE(has(*d, "after"));
    EXPECT_FALSE(has(*d, "backdated"));
    EXPECT_EQ(d->problems(), "");
  }
  expect_equal({a.device.get(), b.device.get()});
  // They keep their places: a record that quotes them verifies, also for a new device.
  EXPECT_GT(a->logs().size(), 3u);
  auto d = watching("d");
  d->replica().key_ring().add(secrets().epoch_keys);  // as who joins with the passphrase has them
  settle({d.device.get()});
  EXPECT_FALSE(has(*d.device, "after"));
  EXPECT_FALSE(has(*d.device, "backdated"));
  expect_equal({a.device.get(), d.device.get()});
}

TEST_F(RevocationTest, TheRevokedDeviceKeepsItsWorkAndSaysWhatItIs) {
  auto a = watching("a"), c = watching("c");
  a->write("a", noise(100, 1));
  c->write("c", noise(100, 2));
  settle({a.device.get(), c.device.get()});
  const auto old_keys = c->replica().key_ring().size();
  revoke(*c.device);
  wait_until([&] { return c->problems().find("this device has been revoked") != std::string::npos; });
  const auto records = keys(kLogPrefix).size();
  c->write("own work", noise(100, 3));
  EXPECT_CODE(Code::kNotPermitted, c->sync());
  EXPECT_EQ(keys(kLogPrefix).size(), records);
  EXPECT_EQ(c->read("own work").value(), noise(100, 3));
  EXPECT_EQ(c->read("a").value(), noise(100, 1));
  EXPECT_EQ(c->replica().key_ring().size(), old_keys);  // no new keys
  // So it stays after a restart, also away from the store.
  c->faults().set_hook([](const FaultCall&) {
    Fault f;
    f.fail_before = Code::kUnavailable;
    return f;
  });
  c->restart();
  EXPECT_NE(c->problems().find("this device has been revoked"), std::string::npos);
  EXPECT_EQ(c->read("own work").value(), noise(100, 3));
  EXPECT_EQ(keys(kLogPrefix).size(), records);
}

// One device has applied a record, and built upon it, and another has not, when the revocation comes that makes it void.
TEST_F(RevocationTest, WhatOneHadAppliedAndAnotherHadNotIsTheSameForBoth) {
  auto away = std::make_shared<FaultStore>(memory_, nullptr);
  auto a = watching("a"), b = watching("b", away), c = watching("c");
  a->write("shared", noise(5000, 1));
  settle({a.device.get(), b.device.get(), c.device.get()});
  c->write("c before", noise(100, 2));
  settle({a.device.get(), b.device.get(), c.device.get()});
  // The revocation is made from what is there now, and seen by nobody yet.
  Revocation early;
  early.device = c->identity().device;
  TAKE(early.accepted, accepted_heads(*memory_, secrets(), {early.device, c->identity().certificate.key, "c"}));
  away->set_hook([](const FaultCall&) {
    Fault f;
    f.fail_before = Code::kUnavailable;
    return f;
  });
  b->write("b offline", noise(100, 3));
  c->write("void", noise(100, 4));
  c->write("shared", noise(100, 5));
  c->must_sync();
  a->must_sync();
  ASSERT_TRUE(has(*a.device, "void"));
  a->write("void", noise(100, 6));  // upon what will not have been
  a->write("a after", noise(100, 7));
  a->must_sync();
  const DeviceId id = c->identity().device;
  c->stop();
  ASSERT_OK(put_revocation(*memory_, head_, secrets(), {}, early));
  rotate();
  wait_for_revocation({a.device.get()}, id);
  wait_until([&] { return !has(*a.device, "void"); });
  away->set_hook(nullptr);
  wait_for_revocation({b.device.get()}, id);
  settle({a.device.get(), b.device.get()});
  for (Device* d : {a.device.get(), b.device.get()}) {
    EXPECT_FALSE(has(*d, "void"));
    EXPECT_TRUE(has(*d, "c before"));
    EXPECT_TRUE(has(*d, "a after"));
    EXPECT_TRUE(has(*d, "b offline"));
    EXPECT_EQ(d->read("shared").value(), noise(5000, 1));
    EXPECT_EQ(d->problems(), "");
  }
  expect_equal({a.device.get(), b.device.get()});
  auto d = watching("d");
  settle({d.device.get()});
  expect_equal({a.device.get(), d.device.get()});
  // And it stays so when they begin anew with what they have.
  a->restart();
  settle({a.device.get(), b.device.get()});
  expect_equal({a.device.get(), b.device.get()});
}

TEST_F(RevocationTest, RevokedAgainNothingMoreComesToCount) {
  auto a = watching("a"), c = watching("c");
  a->write("a", noise(100, 1));
  c->write("c", noise(100, 2));
  settle({a.device.get(), c.device.get()});
  revoke(*c.device);
  wait_for_revocation({a.device.get()}, c->identity().device);
  publish(*c.device, next_of(*a.device, *c.device), "after");
  a->must_sync();
  revoke(*c.device);
  a->must_sync();
  EXPECT_FALSE(has(*a.device, "after"));
  size_t revocations = 0;
  for (const std::string& key : keys(kSlotPrefix)) revocations += key.ends_with(".revoked");
  EXPECT_EQ(revocations, 1u);
}

TEST_F(RevocationTest, TheNewEpochIsNotForTheRevokedDevice) {
  auto a = watching("a"), c = watching("c");
  a->write("a", noise(100, 1));
  c->write("c", noise(100, 2));
  settle({a.device.get(), c.device.get()});
  revoke(*c.device);
  wait_until([&] { return a->replica().key_ring().size() == 2; });
  std::map<Epoch, Secret> taken;
  EXPECT_EQ(take_device_slots(head_, read_slots(*memory_).value(), c->identity().key, taken), 0u);
  EXPECT_EQ(take_device_slots(head_, read_slots(*memory_).value(), a->identity().key, taken), 2u);
  // Nor is any later one.
  rotate();
  taken.clear();
  EXPECT_EQ(take_device_slots(head_, read_slots(*memory_).value(), c->identity().key, taken), 0u);
}

// A revocation that vanishes from the store is put back by whoever has seen it, and holds for him meanwhile.
TEST_F(RevocationTest, ARevocationThatVanishesIsPutBack) {
  auto a = watching("a"), c = watching("c");
  a->write("a", noise(100, 1));
  c->write("c", noise(100, 2));
  settle({a.device.get(), c.device.get()});
  revoke(*c.device);
  wait_for_revocation({a.device.get()}, c->identity().device);
  std::string key;
  for (const std::string& k : keys(kSlotPrefix))
    if (k.ends_with(".revoked")) key = k;
  ASSERT_TRUE(memory_->erase(key));
  publish(*c.device, next_of(*a.device, *c.device), "after");
  a->restart();
  settle({a.device.get()});
  EXPECT_FALSE(has(*a.device, "after"));
  wait_until([&] { return !keys(key).empty(); });
}

}  // namespace
}  // namespace coffer::test
