// The order of records: what may be applied, what waits, what is refused, and the stable line.
#include "crypto/hash.h"
#include "fs/sync/log_tails.h"
#include "fs/sync/log_verifier.h"
#include "tests/sync/fixture.h"

namespace coffer::test {
namespace {

class LogTest : public SyncUnitTest {
 protected:
  LogTest()
      : tails_([this](const RowKey& key) -> Result<std::optional<Bytes>> {
          auto it = rows_.find(key.bytes);
          return it == rows_.end() ? std::nullopt : std::optional(it->second);
        }) {}

  // A log as its author keeps it.
  struct Writer {
    std::shared_ptr<DeviceIdentity> identity;
    LogId log;
    uint64_t number = 0, stamp = 0;
    Hash hash;
    LogHead head() const { return {log, number, hash}; }
  };
  Writer writer(uint8_t device, uint8_t log) {
    return {std::make_shared<DeviceIdentity>(make_device(device)), fixed_id<LogId>(log), 0, 0, {}};
  }

  struct Quoted {
    LogHead head;
    uint64_t stamp;
  };
  static Quoted quote(const Writer& w) { return {w.head(), w.stamp}; }

  // The next record of `w`; `spoil` may change it before it is signed.
  OpenedRecord next(Writer& w, std::vector<Quoted> quotes = {}, std::optional<Quoted> predecessor = {},
                    std::function<void(Record&)> spoil = {}) {
    Record r;
    if (++w.number == 1) {
      r.opening = RecordOpening{w.identity->certificate, w.identity->name, {}};
      if (predecessor) r.opening->predecessor = predecessor->head;
    } else {
      r.previous = w.hash;
    }
    std::sort(quotes.begin(), quotes.end(), [](auto& a, auto& b) { return a.head.log < b.head.log; });
    std::vector<uint64_t> stamps;
    for (auto& q : quotes) {
      r.heads.push_back(q.head);
      stamps.push_back(q.stamp);
    }
    if (predecessor) stamps.push_back(predecessor->stamp);
    r.stamp = next_stamp(w.stamp, stamps);
    if (spoil) spoil(r);
    SealedRecord sealed = seal_record(r, {}, volume_, w.log, w.number, keys_, w.identity->key).value();
    w.hash = sealed.hash;
    w.stamp = r.stamp;
    return open_record(sealed.object, volume_, w.log, w.number, [this](Epoch) { return &keys_; }).value();
  }

  Result<std::optional<Awaited>> verify(const OpenedRecord& r) {
    return verify_record(r, tails_, volume_, signing_.public_key());
  }
  void accept(const OpenedRecord& r) {
    TAKE(auto awaited, verify(r));
    ASSERT_FALSE(awaited);
    count(r);
  }
  void count(const OpenedRecord& r) {
    TailBatch batch(tails_);
    ASSERT_OK(batch.add(r));
    for (RowPut& p : batch.rows()) rows_[p.key.bytes] = *p.value;
    batch.commit();
  }
  uint64_t stable(uint8_t ours, WallTime silent = {}) const {
    return tails_.stable_stamp(fixed_id<DeviceId>(ours), silent);
  }

  std::map<std::string, Bytes> rows_;
  LogTails tails_;
};

TEST_F(LogTest, OneLogInOrder) {
  Writer a = writer(1, 1);
  OpenedRecord first = next(a), second = next(a), third = next(a);
  EXPECT_EQ(first.record.stamp, 1u);
  EXPECT_EQ(third.record.stamp, 3u);
  TAKE(auto awaited, verify(third));
  EXPECT_EQ(awaited, (Awaited{a.log, 2}));
  accept(first);
  TAKE(awaited, verify(third));
  EXPECT_EQ(awaited, (Awaited{a.log, 2}));
  accept(second);
  accept(third);
  auto tail = tails_.find(a.log);
  EXPECT_EQ(tail->head(), a.head());
  EXPECT_EQ(tail->first_stamp, 1u);
  EXPECT_EQ(tail->name, "device1");
}

TEST_F(LogTest, RowsComeBack) {
  Writer a = writer(1, 1), b = writer(2, 2);
  accept(next(a));
  accept(next(b, {quote(a)}));
  accept(next(b));
  LogTails loaded([](const RowKey&) -> Result<std::optional<Bytes>> { return std::optional<Bytes>(); });
  std::vector<Row> rows;
  for (auto& [key, value] : rows_)
    if (key.starts_with(LogTails::kTailPrefix)) rows.push_back({key, value});
  ASSERT_OK(loaded.load(rows));
  EXPECT_EQ(loaded.find(a.log), tails_.find(a.log));
  EXPECT_EQ(loaded.find(b.log), tails_.find(b.log));
  EXPECT_EQ(loaded.all().size(), 2u);
  rows[0].value.pop_back();
  EXPECT_CODE(Code::kCorrupt, loaded.load(rows));
}

TEST_F(LogTest, RowsOfVersion1AreRead) {
  Writer a = writer(1, 1);
  accept(next(a, {}, {}, [](Record& r) { r.when = WallTime{5}; }));
  LogTail tail = *tails_.find(a.log);
  EXPECT_EQ(tail.opened, WallTime{5});
  Bytes row = encode(tail);
  row[0] = 1;
  row.resize(row.size() - 25);
  TAKE(LogTail old, decode_tail(a.log, row));
  EXPECT_EQ(old.opened, WallTime{});
  tail.opened = {};
  EXPECT_EQ(old, tail);
}

TEST_F(LogTest, ForgedRecordsAreRefused) {
  Writer a = writer(1, 1);
  Writer stranger = writer(2, 2);
  stranger.identity->certificate.signature.bytes[3] ^= 1;
  EXPECT_CODE(Code::kCorrupt, verify(next(stranger)));

  accept(next(a));
  Writer forger = a;
  forger.identity = std::make_shared<DeviceIdentity>(make_device(3));  // a member, but not the one whose log it is
  EXPECT_CODE(Code::kCorrupt, verify(next(forger)));
  Writer other_chain = a;
  other_chain.hash.bytes[0] ^= 1;
  EXPECT_CODE(Code::kCorrupt, verify(next(other_chain)));
  Writer thief = writer(3, 3);  // somebody else's certificate
  thief.identity->certificate = a.identity->certificate;
  EXPECT_CODE(Code::kCorrupt, verify(next(thief)));
}

TEST_F(LogTest, DevicesThatOthersVouchForAreMembers) {
  Writer a = writer(1, 1), b = writer(2, 2), c = writer(3, 3), stranger = writer(4, 4);
  b.identity = std::make_shared<DeviceIdentity>(make_device(2, *a.identity));
  c.identity = std::make_shared<DeviceIdentity>(make_device(3, *b.identity));
  // Its certificate has all that is needed: the logs of the vouchers need not be here.
  accept(next(c));
  EXPECT_EQ(tails_.find(c.log)->vouchers, (std::vector{a.identity->device, b.identity->device}));
  EXPECT_EQ(decode_tail(c.log, encode(*tails_.find(c.log))).value(), *tails_.find(c.log));
  accept(next(a));
  EXPECT_TRUE(tails_.find(a.log)->vouchers.empty());

  // Somebody vouches who is none.
  DeviceIdentity no_member = make_device(5);
  no_member.certificate.signature.bytes[3] ^= 1;
  stranger.identity = std::make_shared<DeviceIdentity>(make_device(4, no_member));
  EXPECT_CODE(Code::kCorrupt, verify(next(stranger)));
  // The certificate is right, and another one's.
  Writer thief = writer(6, 6);
  thief.identity->certificate = c.identity->certificate;
  EXPECT_CODE(Code::kCorrupt, verify(next(thief)));
}

TEST_F(LogTest, StampsFollowFromWhatIsQuoted) {
  Writer a = writer(1, 1), b = writer(2, 2);
  for (int i = 0; i < 5; ++i) accept(next(a));
  Writer lie = b;
  EXPECT_CODE(Code::kCorrupt, verify(next(lie, {quote(a)}, {}, [](Record& r) { r.stamp = 1; })));  // backdated
  lie = b;
  EXPECT_CODE(Code::kCorrupt, verify(next(lie, {quote(a)}, {}, [](Record& r) { r.stamp = 60; })));
  OpenedRecord honest = next(b, {quote(a)});
  EXPECT_EQ(honest.record.stamp, 6u);
  accept(honest);
}

TEST_F(LogTest, WaitsForWhatIsQuoted) {
  Writer a = writer(1, 1), b = writer(2, 2);
  OpenedRecord a1 = next(a);
  OpenedRecord b1 = next(b, {quote(a)});
  TAKE(auto awaited, verify(b1));
  EXPECT_EQ(awaited, (Awaited{a.log, 1}));
  accept(a1);
  accept(b1);
  Writer lie = b;
  Quoted wrong = quote(a);
  wrong.head.hash.bytes[5] ^= 1;
  auto refused = verify(next(lie, {wrong}));
  EXPECT_CODE(Code::kCorrupt, refused);
  EXPECT_NE(refused.error().what().find("device1"), std::string::npos);
  lie = b;
  EXPECT_CODE(Code::kCorrupt, verify(next(lie, {quote(b)})));
}

TEST_F(LogTest, ALogEndsOnlyByItsDevice) {
  Writer a = writer(1, 1);
  accept(next(a));
  Writer other = writer(2, 2);
  EXPECT_CODE(Code::kCorrupt, verify(next(other, {}, quote(a))));
  Writer again = writer(1, 3);
  accept(next(again, {}, quote(a)));
  EXPECT_EQ(tails_.find(a.log)->successor, again.log);
  EXPECT_FALSE(tails_.find(a.log)->open());
  // A restored state directory did not know of it: its bytes are not lost.
  accept(next(a));
  accept(next(again, {}, {}, [](Record& r) { r.closing = true; }));
  EXPECT_FALSE(tails_.find(again.log)->open());
  EXPECT_CODE(Code::kCorrupt, verify(next(again)));
}

TEST_F(LogTest, QuotesWhatMoved) {
  Writer a = writer(1, 1), b = writer(2, 2), a2 = writer(1, 3);
  accept(next(a));
  accept(next(b, {quote(a)}));
  auto seen = tails_.find(b.log)->seen;
  EXPECT_TRUE(tails_.to_quote(b.log, seen, false).empty());
  accept(next(a));
  auto moved = tails_.to_quote(b.log, seen, false);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_EQ(moved[0].head(), a.head());
  accept(next(a2, {quote(b)}, quote(a)));
  auto opening = tails_.to_quote(fixed_id<LogId>(9), {}, true);  // a was succeeded by a2
  ASSERT_EQ(opening.size(), 2u);
  EXPECT_EQ(opening[0].log, b.log);
  EXPECT_EQ(opening[1].log, a2.log);
}

TEST_F(LogTest, StableLine) {
  Writer a = writer(1, 1), b = writer(2, 2);
  for (int i = 0; i < 3; ++i) accept(next(a));
  EXPECT_EQ(stable(1), 3u);  // alone
  EXPECT_EQ(stable(2), 3u);  // a's own next record sorts after all of its own
  accept(next(b));           // concurrent: has seen nothing of a
  EXPECT_EQ(b.stamp, 1u);
  EXPECT_EQ(stable(1), 0u);
  accept(next(b, {quote(a)}));
  EXPECT_EQ(b.stamp, 4u);
  EXPECT_EQ(stable(1), 4u);
  accept(next(a));
  EXPECT_EQ(a.stamp, 4u);
  EXPECT_EQ(stable(1), 3u);  // b has seen a up to its third
  EXPECT_EQ(stable(2), 0u);  // a has seen nothing of b
  accept(next(a, {quote(b)}));
  EXPECT_EQ(stable(2), 5u);
  // Once b's log is closed nobody waits for it.
  accept(next(b, {}, {}, [](Record& r) { r.closing = true; }));
  EXPECT_EQ(stable(1), 5u);
}

TEST_F(LogTest, StableLineFollowsSuccession) {
  Writer a = writer(1, 1), b = writer(2, 2), a2 = writer(1, 3), a3 = writer(1, 4);
  accept(next(a));
  accept(next(a2, {}, quote(a)));
  accept(next(a3, {}, quote(a2)));
  accept(next(b, {quote(a3)}));  // a and a2 are not quoted, and known
  EXPECT_EQ(stable(1), b.stamp);
}

// The machine of `a` comes back from a backup of before its second record, as a2 and then a3: who quotes them knows nothing of
// that record.
TEST_F(LogTest, WhatARestoredBackupDoesNotKnowIsNotKnownByItsLogs) {
  Writer a = writer(1, 1), a2 = writer(1, 3), a3 = writer(1, 4), b = writer(2, 2);
  accept(next(a));
  const Quoted backup = quote(a);
  accept(next(a));
  accept(next(a2, {}, backup));
  accept(next(a3, {}, quote(a2)));
  const uint64_t seen = backup.stamp;
  {
    TailBatch batch(tails_);
    ASSERT_OK(batch.add(next(a3)));
    TAKE(bool all, batch.knows_all(a3.log, a.stamp));
    EXPECT_FALSE(all);
    TAKE(all, batch.knows_all(a3.log, seen));
    EXPECT_TRUE(all);
    batch.commit();
  }
  EXPECT_EQ(stable(2), seen);
  // So whoever knows better says so, also when he begins a log.
  auto opening = tails_.to_quote(b.log, {}, true);
  ASSERT_EQ(opening.size(), 2u);
  EXPECT_EQ(opening[0].head(), a.head());
  EXPECT_EQ(opening[1].log, a3.log);
  auto moved = tails_.to_quote(a3.log, tails_.find(a3.log)->seen, false);
  ASSERT_EQ(moved.size(), 1u);  // and not a2, which it names
  EXPECT_EQ(moved[0].head(), a.head());
  accept(next(a3, {quote(a)}));
  EXPECT_EQ(stable(2), a3.stamp);
}

// As it was written before the record was kept that a successor names.
TEST_F(LogTest, ATailOfTheSecondVersionIsRead) {
  Writer a = writer(1, 1), a2 = writer(1, 3);
  accept(next(a));
  accept(next(a2, {}, quote(a)));
  auto row = encode(*tails_.find(a.log));
  row[0] = 2;
  row.resize(row.size() - 16);
  TAKE(LogTail tail, decode_tail(a.log, row));
  EXPECT_EQ(tail, *tails_.find(a.log));
}

}  // namespace
}  // namespace coffer::test
