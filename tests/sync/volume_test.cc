#include "fs/sync/volume.h"

#include "crypto/random.h"
#include "fs/sync/key_slots.h"
#include "fs/sync/object_keys.h"
#include "remote/fault_store.h"
#include "remote/memory_store.h"
#include "tests/sync/fixture.h"

namespace coffer::test {
namespace {

class VolumeTest : public SyncUnitTest {
 protected:
  Result<VolumeSecrets> open(const Secret& passphrase) {
    TRY(VolumeHead head, read_volume_head(store_));
    TRY(auto slots, read_slots(store_));
    return unlock(head, slots, passphrase);
  }
  MemoryStore store_;
};

TEST_F(VolumeTest, OpensByPassphraseAndRecoveryKey) {
  RecoveryKey recovery = RecoveryKey::generate();
  TAKE(VolumeSecrets made, create_volume(store_, pass("secret"), &recovery, kCheap));
  EXPECT_EQ(store_.object_count(), 3u);
  TAKE(VolumeSecrets opened, open(pass("secret")));
  EXPECT_EQ(opened.volume, made.volume);
  EXPECT_EQ(opened.signing_public, made.signing_public);
  EXPECT_TRUE(opened.epoch_keys.at(1).equal(made.epoch_keys.at(1)));
  TAKE(VolumeHead head, read_volume_head(store_));
  TAKE(auto slots, read_slots(store_));
  TAKE(VolumeSecrets recovered, unlock(head, slots, recovery));
  EXPECT_TRUE(recovered.epoch_keys.at(1).equal(made.epoch_keys.at(1)));
  EXPECT_CODE(Code::kDenied, open(pass("Secret")));
  EXPECT_CODE(Code::kDenied, unlock(head, slots, RecoveryKey::generate()));
  EXPECT_CODE(Code::kExists, create_volume(store_, pass("other"), nullptr, kCheap));
  EXPECT_OK(open(pass("secret")));
}

TEST_F(VolumeTest, WhatIsNoVolumeSaysSo) {
  EXPECT_CODE(Code::kNotFound, read_volume_head(store_));
  TAKE(VolumeSecrets made, create_volume(store_, pass("x"), nullptr, kCheap));
  Bytes whole = store_.snapshot().at(kVolumeKey);
  std::set<std::string> texts;
  for (size_t size = 0; size < whole.size(); ++size) {
    store_.plant(kVolumeKey, BytesView(whole).first(size));
    auto head = read_volume_head(store_);
    EXPECT_CODE(Code::kCorrupt, head);
    texts.insert(head.error().what().substr(0, 40));
  }
  EXPECT_GE(texts.size(), 2u);  // empty, cut off
  store_.plant(kVolumeKey, to_bytes("<html><body>404 not found</body></html>"));
  auto foreign = read_volume_head(store_);
  EXPECT_CODE(Code::kCorrupt, foreign);
  EXPECT_NE(foreign.error().what().find("not written by coffer"), std::string::npos);
  store_.plant(kVolumeKey, noise(1 << 20, 1));
  EXPECT_CODE(Code::kCorrupt, read_volume_head(store_));
  Bytes newer = whole;
  newer[8] = 2;
  store_.plant(kVolumeKey, newer);
  EXPECT_CODE(Code::kTooNew, read_volume_head(store_));
  Bytes longer = whole;
  longer.push_back(0);
  store_.plant(kVolumeKey, longer);
  EXPECT_CODE(Code::kCorrupt, read_volume_head(store_));
}

TEST_F(VolumeTest, AReplacedHeadIsFound) {
  TAKE(VolumeSecrets made, create_volume(store_, pass("x"), nullptr, kCheap));
  Bytes whole = store_.snapshot().at(kVolumeKey);
  for (size_t i : {size_t{10}, size_t{25}, size_t{26}, size_t{57}}) {
    Bytes bad = whole;
    bad[i] ^= 1;
    store_.plant(kVolumeKey, bad);
    EXPECT_CODE(Code::kCorrupt, open(pass("x")));
  }
}

TEST_F(VolumeTest, ForeignSlotsDoNotHinder) {
  MemoryStore other;
  TAKE(VolumeSecrets theirs, create_volume(other, pass("x"), nullptr, kCheap));
  TAKE(VolumeSecrets ours, create_volume(store_, pass("x"), nullptr, kCheap));
  for (auto& [key, object] : other.snapshot())
    if (key.starts_with(kSlotPrefix)) store_.plant(key, object);
  store_.plant("slot/README", noise(100, 1));
  store_.plant(slot_key(fixed_id<ObjectId>(1)), noise(100, 1));
  store_.plant(slot_key(fixed_id<ObjectId>(2)), {});
  TAKE(VolumeSecrets opened, open(pass("x")));
  EXPECT_EQ(opened.volume, ours.volume);
}

TEST_F(VolumeTest, NoSlots) {
  TAKE(VolumeSecrets made, create_volume(store_, pass("x"), nullptr, kCheap));
  for (auto& [key, object] : store_.snapshot())
    if (key.starts_with(kSlotPrefix)) store_.erase(key);
  EXPECT_CODE(Code::kNotFound, read_slots(store_));
}

TEST_F(VolumeTest, ABrokenOffInitLeavesNoVolume) {
  auto memory = std::make_shared<MemoryStore>();
  FaultStore store(memory, [](const FaultCall& call) {
    Fault f;
    if (call.operation == StoreOperation::kPut && call.key == kVolumeKey) f.fail_before = Code::kUnavailable;
    return f;
  });
  EXPECT_CODE(Code::kUnavailable, create_volume(store, pass("x"), nullptr, kCheap));
  EXPECT_CODE(Code::kNotFound, read_volume_head(*memory));
  store.set_hook(nullptr);
  EXPECT_OK(create_volume(store, pass("x"), nullptr, kCheap));
  TAKE(VolumeHead head, read_volume_head(*memory));
  TAKE(auto slots, read_slots(*memory));
  EXPECT_OK(unlock(head, slots, pass("x")));  // past the slot that was left
}

TEST_F(VolumeTest, IdentityComesBackHereOnly) {
  TAKE(VolumeSecrets secrets, create_volume(store_, pass("x"), nullptr, kCheap));
  TAKE(DeviceIdentity made, join(secrets, "laptop"));
  EXPECT_TRUE(made.certificate.valid(secrets.signing_public, secrets.volume));
  Bytes sealed = seal_identity(made, secrets.volume, local_);
  TAKE(DeviceIdentity opened, open_identity(sealed, secrets.volume, local_));
  EXPECT_EQ(opened.device, made.device);
  EXPECT_EQ(opened.name, "laptop");
  EXPECT_EQ(opened.key.public_key(), made.key.public_key());
  EXPECT_TRUE(opened.certificate.valid(secrets.signing_public, secrets.volume));
  EXPECT_CODE(Code::kCorrupt, open_identity(sealed, volume_, local_));
  LocalKeys other(fixed_secret(0x11), fixed_secret(0x23).view());
  EXPECT_CODE(Code::kCorrupt, open_identity(sealed, secrets.volume, other));
  for (size_t i = 0; i < sealed.size(); ++i) {
    Bytes bad = sealed;
    bad[i] ^= 1;
    EXPECT_CODE(Code::kCorrupt, open_identity(bad, secrets.volume, local_));
  }
  // One that was let in has more to keep.
  TAKE(auto vouched, DeviceCertificate::vouch(made.certificate, made.key, secrets.volume, made.key.public_key(), 1));
  made.certificate = vouched;
  made.handed_over = {{{fixed_id<LogId>(3), 7, fixed_id<Hash>(0x77)}, "tower"}};
  sealed = seal_identity(made, secrets.volume, local_);
  TAKE(opened, open_identity(sealed, secrets.volume, local_));
  EXPECT_EQ(opened.device, vouched.device);
  EXPECT_EQ(opened.certificate.vouchers.size(), 1u);
  EXPECT_TRUE(opened.certificate.valid(secrets.signing_public, secrets.volume));
  EXPECT_EQ(opened.handed_over, made.handed_over);
  EXPECT_CODE(Code::kInvalid, join(secrets, "a/b"));
  secrets.signing_secret.reset();
  EXPECT_CODE(Code::kInvalid, join(secrets, "laptop"));
}

}  // namespace
}  // namespace coffer::test
