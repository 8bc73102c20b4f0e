#include "fs/sync/pace.h"

#include <gtest/gtest.h>

namespace coffer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanos kStep = milliseconds(100);

// Records made while something changes every `every` until `work` has passed, each time by so many operations.
int records(Nanos work, Nanos every, uint64_t operations = 1000) {
  PublishPace pace(milliseconds(500), seconds(30));
  int made = 0;
  uint64_t since = 0;
  Nanos next_change{0};
  for (Nanos now{0}; now < work + seconds(60); now += kStep) {
    if (now < work && now >= next_change) {
      pace.changed(now, since += operations);
      next_change = now + every;
    }
    if (pace.due() && *pace.due() <= now) {
      pace.published(now);
      since = 0;
      ++made;
    }
  }
  return made;
}

TEST(PublishPace, OneChangeGoesAfterAQuietMoment) {
  PublishPace pace(milliseconds(500), seconds(30));
  EXPECT_FALSE(pace.due());
  pace.changed(seconds(10), 1);
  EXPECT_EQ(pace.due(), seconds(10) + milliseconds(500));
  pace.changed(seconds(10) + milliseconds(300), 2);
  EXPECT_EQ(pace.due(), seconds(10) + milliseconds(800));
  pace.published(seconds(11));
  EXPECT_FALSE(pace.due());
}

TEST(PublishPace, SavingNowAndThenIsAlwaysQuick) { EXPECT_EQ(records(seconds(100), seconds(10)), 10); }

// Somebody saves every few seconds for a long time: nobody elsewhere waits much longer than at first.
TEST(PublishPace, SavingOverAndOverStaysQuick) {
  PublishPace pace(milliseconds(500), seconds(30));
  for (Nanos now = seconds(10); now < seconds(600); now += seconds(4)) {
    pace.changed(now, 5);
    ASSERT_LE(*pace.due(), now + seconds(2));
    pace.published(*pace.due());
  }
  EXPECT_LE(records(seconds(600), seconds(1), 5), 400);
}

TEST(PublishPace, LongWorkMakesFewRecords) {
  EXPECT_LE(records(seconds(5), kStep), 3);
  EXPECT_LE(records(seconds(60), kStep), 6);
  EXPECT_LE(records(seconds(600), kStep), 25);
  EXPECT_LE(records(seconds(600), seconds(1)), 100);  // with pauses that look quiet
}

// Objects that 100,000 files of 1 KiB become: each record, and the packs that it names. `per_second` are made, with a pause
// of a second after every `burst` seconds (0: none).
int objects_of_small_files(int per_second, int burst) {
  constexpr int kFiles = 100'000;
  constexpr uint64_t kFrame = 1100, kPack = 14 << 20, kCarried = 64 << 10;
  PublishPace pace(milliseconds(500), seconds(30));
  int objects = 0, made = 0;
  uint64_t since = 0;
  Nanos worked{0};
  for (Nanos now{0}; made < kFiles || pace.due(); now += kStep) {
    const bool pause = burst > 0 && now % seconds(burst + 1) >= seconds(burst);
    if (made < kFiles && !pause) {
      worked += kStep;
      int due = std::min<int>(kFiles, static_cast<int>(worked / milliseconds(1) * per_second / 1000));
      since += static_cast<uint64_t>(due - made);
      if (due > made) pace.changed(now, since);
      made = due;
    }
    if (!pace.due() || *pace.due() > now) continue;
    pace.published(now);
    objects += 1 + (since * kFrame > kCarried ? static_cast<int>(since * kFrame / kPack) + 1 : 0);
    since = 0;
  }
  return objects;
}

TEST(PublishPace, AHundredThousandSmallFilesBecomeFewObjectsHoweverFastTheyAreMade) {
  // A record at least every half minute: so they are under a hundred objects if it takes less than 20 minutes.
  for (int per_second : {90, 150, 300, 600, 1000, 3000, 10'000, 100'000})
    for (int burst : {0, 1, 3, 10, 30}) {
      if (burst > 0 && per_second * burst / (burst + 1) < 90) continue;
      EXPECT_LT(objects_of_small_files(per_second, burst), 100) << per_second << " a second, bursts of " << burst;
    }
}

TEST(PublishPace, StartsAnewAfterRest) {
  PublishPace pace(milliseconds(500), seconds(30));
  Nanos now{0};
  for (; now < seconds(120); now += kStep) {
    pace.changed(now, 1000);
    if (*pace.due() <= now) pace.published(now);
  }
  EXPECT_EQ(pace.interval(), seconds(30));
  pace.published(now);
  now += seconds(100);
  pace.changed(now, 1);
  EXPECT_EQ(pace.due(), now + milliseconds(500));
}

TEST(Backoff, DoublesUpToItsMost) {
  Backoff backoff(seconds(1), seconds(5));
  EXPECT_EQ(backoff.next(), seconds(1));
  EXPECT_EQ(backoff.next(), seconds(2));
  EXPECT_EQ(backoff.next(), seconds(4));
  EXPECT_EQ(backoff.next(), seconds(5));
  EXPECT_EQ(backoff.next(), seconds(5));
  backoff.reset();
  EXPECT_EQ(backoff.next(), seconds(1));
}

}  // namespace
}  // namespace coffer
