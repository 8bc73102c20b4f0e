// Letting devices in, on a store that does what it likes.
#include "fs/sync/pairing.h"

#include <thread>

#include "fs/sync/object_keys.h"
#include "tests/sync/device.h"

namespace coffer::test {
namespace {

const WallTime kNow{1'700'000'000'000'000'000};

class PairingTest : public DevicesTest {
 protected:
  PairingTest() {
    secrets_ = volume_.secrets();
    secrets_.signing_secret.reset();
    member_ = device("laptop");
    member_->write("file", to_bytes("one"));
    member_->must_sync();
  }

  PairingWait ask(WallTime now = kNow) {
    PairingWait wait = PairingWait::begin(volume_.id, now);
    EXPECT_OK(memory_->put(pair_request_key(wait.id()), wait.request()));
    return wait;
  }
  Result<DeviceId> answer(const PairingCode& code) {
    return let_in(*memory_, code, secrets_, member_->identity(), member_->sync_engine().heads());
  }
  Result<HandedOver> take(const PairingWait& wait) {
    TRY(Bytes object, memory_->get(pair_answer_key(wait.id()), kMaxPairingAnswer));
    TRY(Secret contents, wait.open(object));
    return decode_handed_over(contents.view());
  }
  // A device that was let in, and has not looked at the store yet.
  std::unique_ptr<Device> newcomer(const std::string& name) {
    const PairingWait wait = ask();
    EXPECT_OK(answer(wait.code()));
    auto handed_over = take(wait);
    EXPECT_OK(handed_over);
    auto made = std::make_unique<Device>(volume_, memory_, name);
    made->become({handed_over->certificate.device, name,
                  SigningKey::from_secret(wait.signing().secret().clone()).value(), handed_over->certificate,
                  handed_over->heads});
    return made;
  }
  // The member's newest record, hint and all, is gone from the store; returned as it was. The member would put it back, so it
  // ends before.
  std::pair<std::string, Bytes> withhold_newest() {
    const LogTail tail = member_->logs().front();
    const std::string key = keys(log_prefix(tail.log) + std::to_string(tail.number) + "-").front();
    member_->stop(false);
    for (const std::string& hint : keys("head/")) memory_->erase(hint);
    std::pair<std::string, Bytes> out(key, memory_->snapshot().at(key));
    memory_->erase(key);
    return out;
  }

  VolumeSecrets secrets_;  // as a mounted device has them
  std::unique_ptr<Device> member_;
};

TEST_F(PairingTest, HandsOverWhatADeviceNeedsAndNoMore) {
  const PairingWait wait = ask();
  TAKE(DeviceId device, answer(wait.code()));
  TAKE(HandedOver got, take(wait));
  EXPECT_EQ(got.certificate.device, device);
  EXPECT_EQ(got.certificate.key, wait.signing().public_key());
  EXPECT_TRUE(got.certificate.valid(volume_.signing.public_key(), volume_.id));
  ASSERT_EQ(got.certificate.vouchers.size(), 1u);
  EXPECT_EQ(got.certificate.vouchers[0].device, member_->identity().device);
  EXPECT_EQ(got.secrets.volume, volume_.id);
  EXPECT_EQ(got.secrets.signing_public, volume_.signing.public_key());
  EXPECT_FALSE(got.secrets.signing_secret);
  EXPECT_TRUE(got.secrets.epoch_keys.at(1).equal(volume_.key));
  EXPECT_EQ(got.by, "laptop");
  ASSERT_EQ(got.heads.size(), 1u);
  EXPECT_EQ(got.heads[0].head, member_->logs().front().head());
  EXPECT_EQ(got.heads[0].device, "laptop");
  EXPECT_CODE(Code::kExists, answer(wait.code()));
}

TEST_F(PairingTest, WhoWasLetInWritesAndLetsOthersIn) {
  auto tower = newcomer("tower");
  tower->start();
  tower->write("other", to_bytes("two"));
  tower->must_sync();
  settle({member_.get(), tower.get()});
  expect_equal({member_.get(), tower.get()});

  const PairingWait wait = ask();
  EXPECT_OK(let_in(*memory_, wait.code(), secrets_, tower->identity(), tower->sync_engine().heads()));
  TAKE(HandedOver got, take(wait));
  EXPECT_EQ(got.certificate.vouchers.size(), 2u);
  EXPECT_EQ(got.heads.size(), 2u);
  Device phone(volume_, memory_, "phone");
  phone.become({got.certificate.device, "phone", SigningKey::from_secret(wait.signing().secret().clone()).value(),
                got.certificate, got.heads});
  phone.start();
  phone.write("third", to_bytes("three"));
  phone.must_sync();
  settle({member_.get(), tower.get(), &phone});
  expect_equal({member_.get(), tower.get(), &phone});
  for (const LogTail& log : member_->logs()) {
    if (log.device != got.certificate.device) continue;
    EXPECT_EQ(log.vouchers, (std::vector{member_->identity().device, tower->identity().device}));
  }
  EXPECT_EQ(member_->problems() + tower->problems() + phone.problems(), "");
}

TEST_F(PairingTest, AStoreThatPutsItsOwnKeysIntoTheRequestGetsNoAnswer) {
  const PairingWait wait = ask(), its_own = PairingWait::begin(volume_.id, kNow);
  PairingRequest swapped = decode_pairing_request(wait.request()).value();
  const PairingRequest mine = decode_pairing_request(its_own.request()).value();
  for (int which = 1; which <= 3; ++which) {
    PairingRequest bad = swapped;
    if (which & 1) bad.sealing = mine.sealing;
    if (which & 2) bad.signing = mine.signing;
    memory_->plant(pair_request_key(wait.id()), encode(bad));
    EXPECT_CODE(Code::kNotFound, answer(wait.code()));
    memory_->plant(pair_request_key(its_own.id()), its_own.request());
    EXPECT_CODE(Code::kNotFound, answer(wait.code()));
  }
  for (size_t i = 0; i < wait.request().size(); ++i) {
    Bytes bad = wait.request();
    bad[i] ^= 1;
    memory_->plant(pair_request_key(wait.id()), bad);
    EXPECT_CODE(Code::kNotFound, answer(wait.code()));
  }
  // The request as it was, under another name.
  memory_->plant(pair_request_key(wait.id()), its_own.request());
  memory_->plant(pair_request_key(its_own.id()), wait.request());
  EXPECT_CODE(Code::kNotFound, answer(wait.code()));
  EXPECT_TRUE(keys("pair/").size() == 2);
}

TEST_F(PairingTest, OnlyTheAnswerThatWasMeantIsTaken) {
  const PairingWait earlier = ask();
  ASSERT_OK(answer(earlier.code()));
  const Bytes old = memory_->get(pair_answer_key(earlier.id()), kMaxPairingAnswer).value();
  const PairingWait wait = ask();
  ASSERT_OK(answer(wait.code()));
  ASSERT_OK(take(wait));
  memory_->plant(pair_answer_key(wait.id()), old);
  EXPECT_CODE(Code::kCorrupt, take(wait));
  // The store answers itself: it knows all but the code's secret.
  const PairingCode guess = PairingCode::make(wait.request());
  memory_->plant(pair_answer_key(wait.id()),
                 seal_pairing_answer(wait.request(), guess, Secret(as_bytes("anything"))).value());
  EXPECT_CODE(Code::kCorrupt, take(wait));
}

TEST_F(PairingTest, TwoAtOnceGetEachItsOwn) {
  const PairingWait a = ask(), b = ask();
  ASSERT_OK(answer(b.code()));
  EXPECT_CODE(Code::kNotFound, take(a));
  ASSERT_OK(answer(a.code()));
  TAKE(HandedOver first, take(a));
  TAKE(HandedOver second, take(b));
  EXPECT_EQ(first.certificate.key, a.signing().public_key());
  EXPECT_EQ(second.certificate.key, b.signing().public_key());
}

TEST_F(PairingTest, ARequestOfAnotherVolumeIsNotAnswered) {
  const PairingWait wait = PairingWait::begin(fixed_id<VolumeId>(0x55), kNow);
  memory_->plant(pair_request_key(wait.id()), wait.request());
  EXPECT_CODE(Code::kNotFound, answer(wait.code()));
}

TEST_F(PairingTest, WhatIsHandedOverIsCheckedWhole) {
  const PairingWait wait = ask();
  ASSERT_OK(answer(wait.code()));
  TAKE(HandedOver got, take(wait));
  const Secret contents = encode(got);
  for (size_t size = 0; size < contents.size(); ++size)
    EXPECT_FALSE(decode_handed_over(contents.view().first(size))) << size;
  got.certificate.signature.bytes[3] ^= 1;
  EXPECT_CODE(Code::kCorrupt, decode_handed_over(encode(got).view()));
  Bytes later = to_bytes(contents.view());
  later[0] = 9;
  EXPECT_CODE(Code::kTooNew, decode_handed_over(later));
}

TEST_F(PairingTest, OldRequestsAreSwept) {
  const Nanos hour = std::chrono::hours(1);
  const PairingWait old = ask({kNow.ns - 24 * hour.count()}), fresh = ask({kNow.ns - 23 * hour.count()});
  const PairingWait ahead = ask({kNow.ns + 25 * hour.count()});
  ASSERT_OK(answer(old.code()));
  ASSERT_OK(answer(fresh.code()));
  memory_->plant(pair_answer_key(fixed_id<ObjectId>(5)), to_bytes("an answer to nobody"));
  memory_->plant(pair_request_key(fixed_id<ObjectId>(6)), to_bytes("no request"));
  memory_->plant("pair/somebody", to_bytes("else's"));
  TAKE(size_t swept, sweep_pairing(*memory_, kNow));
  EXPECT_EQ(swept, 5u);
  std::vector<std::string> left{pair_request_key(fresh.id()), pair_answer_key(fresh.id()), "pair/somebody"};
  std::sort(left.begin(), left.end());
  EXPECT_EQ(keys("pair/"), left);
}

TEST_F(PairingTest, CollectingSweepsThemToo) {
  ask({0});
  const PairingWait fresh = ask(Clock::system().wall());
  CollectOptions dry;
  dry.dry_run = true;
  EXPECT_OK(member_->sync_engine().collect(dry, {}, {}));
  EXPECT_EQ(keys("pair/").size(), 2u);
  EXPECT_OK(member_->sync_engine().collect(CollectOptions{}, {}, {}));
  EXPECT_EQ(keys("pair/"), std::vector{pair_request_key(fresh.id())});
}

TEST_F(PairingTest, WhatIsWithheldFromANewDeviceIsTold) {
  member_->write("later", to_bytes("two"));
  member_->must_sync();
  auto tower = newcomer("tower");
  const auto [key, record] = withhold_newest();
  tower->start();
  EXPECT_OK(tower->sync());
  EXPECT_TRUE(tower->sync_engine().status().news_incomplete);
  wait_until([&] { return !tower->problems().empty(); });
  const std::string number = std::to_string(parse_record_key(key)->number);
  EXPECT_NE(tower->problems().find("record " + number + " of laptop's log"), std::string::npos) << tower->problems();
  EXPECT_NE(tower->problems().find("was there when this device was let in"), std::string::npos);
  // It stays told after a restart, until the record comes.
  tower->restart();
  wait_until([&] { return !tower->problems().empty(); });
  memory_->plant(key, record);
  wait_until([&] { return tower->problems().empty(); });
  tower->must_sync();
  member_->start();
  EXPECT_EQ(tower->tree(), member_->tree());
}

// Without what was handed over, a store that shows nothing would be an empty volume.
TEST_F(PairingTest, AStoreThatShowsANewDeviceNothingIsNotAnEmptyVolume) {
  auto tower = newcomer("tower");
  member_->stop(false);  // it would put back what it has
  for (const char* prefix : {"log/", "head/", "obj/"})
    for (const std::string& key : keys(prefix)) memory_->erase(key);
  tower->open();
  std::stop_source stop;
  std::jthread watcher([&] {
    wait_until([&] { return !tower->problems().empty(); });
    stop.request_stop();
  });
  EXPECT_CODE(Code::kCancelled, tower->sync_engine().load_first(stop.get_token()));
  EXPECT_NE(tower->problems().find("of laptop's log"), std::string::npos) << tower->problems();
}

TEST_F(PairingTest, AnotherRecordThanTheMemberKnewIsTold) {
  auto tower = newcomer("tower");
  DeviceIdentity identity{tower->identity().device, "tower",
                          SigningKey::from_secret(tower->identity().key.secret().clone()).value(),
                          tower->identity().certificate, tower->identity().handed_over};
  identity.handed_over[0].head.hash.bytes[0] ^= 1;
  tower->become(std::move(identity));
  tower->start();
  wait_until([&] { return !tower->problems().empty(); });
  EXPECT_NE(tower->problems().find("is another one here than the device that let this one in knew"), std::string::npos)
      << tower->problems();
}

}  // namespace
}  // namespace coffer::test
