#include "crypto/pairing.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <set>

#include "vectors.h"

namespace coffer {
namespace {

const WallTime kNow{1'700'000'000'123'456'789};

Secret contents() { return testing::secret_of("what a member hands over"); }

// The one whose request and code are golden.
PairingWait golden_wait() {
  PairingRequest request;
  request.id = testing::golden_object();
  request.volume = testing::golden_volume();
  request.made = kNow;
  Secret private_key = testing::filled(32, 0x77);
  EXPECT_EQ(crypto_scalarmult_base(request.sealing.bytes.data(), private_key.view().data()), 0);
  SigningKey signing = testing::signing_key(0x55);
  request.signing = signing.public_key();
  return PairingWait::from(request, std::move(private_key), std::move(signing),
                           PairingCode::parse(as_string(testing::vector("pairing.code"))).value());
}

TEST(Pairing, GoldenBytes) {
  const PairingWait wait = golden_wait();
  EXPECT_EQ(wait.request(), testing::vector("pairing.request"));
  EXPECT_TRUE(wait.code().fits(wait.request()));
  EXPECT_EQ(to_bytes(wait.code().secret()), testing::counting(0x60, 10));
  EXPECT_EQ(to_bytes(wait.code().text().view()), testing::vector("pairing.code"));
  auto opened = wait.open(testing::vector("pairing.answer"));
  ASSERT_TRUE(opened) << opened.error().what();
  EXPECT_TRUE(opened->equal(contents()));
}

TEST(Pairing, AnAnswerComesBackToWhoAsked) {
  const PairingWait wait = PairingWait::begin(testing::golden_volume(), kNow);
  auto request = decode_pairing_request(wait.request());
  ASSERT_TRUE(request);
  EXPECT_EQ(wait.request().size(), kPairingRequestSize);
  EXPECT_EQ(request->id, wait.id());
  EXPECT_EQ(request->volume, testing::golden_volume());
  EXPECT_EQ(request->signing, wait.signing().public_key());
  EXPECT_EQ(request->made, kNow);
  // What was typed is all that the member has.
  const Secret text = wait.code().text();
  EXPECT_EQ(text.size(), 47u);
  auto code = PairingCode::parse(as_string(text.view()));
  ASSERT_TRUE(code);
  auto answer = seal_pairing_answer(wait.request(), *code, contents());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->size(), 4096u);  // padded
  auto opened = wait.open(*answer);
  ASSERT_TRUE(opened) << opened.error().what();
  EXPECT_TRUE(opened->equal(contents()));
}

TEST(Pairing, EveryChangedByteIsFound) {
  const PairingWait wait = PairingWait::begin(testing::golden_volume(), kNow);
  for (size_t i = 0; i < wait.request().size(); ++i) {
    Bytes bad = wait.request();
    bad[i] ^= 0x10;
    EXPECT_FALSE(wait.code().fits(bad)) << i;
    EXPECT_FALSE(wait.code().fits(BytesView(wait.request()).first(i)));
    EXPECT_FALSE(decode_pairing_request(BytesView(wait.request()).first(i)));
  }
  const Bytes answer = seal_pairing_answer(wait.request(), wait.code(), contents()).value();
  for (size_t i = 0; i < answer.size(); ++i) {
    Bytes bad = answer;
    bad[i] ^= 0x10;
    EXPECT_FALSE(wait.open(bad)) << i;
    EXPECT_FALSE(wait.open(BytesView(answer).first(i))) << i;
  }
  Bytes longer = answer;
  longer.push_back(0);
  EXPECT_FALSE(wait.open(longer));
}

// The store has all that lies in it, and may make keys of its own.
TEST(Pairing, WhoDoesNotKnowTheCodeCannotAnswer) {
  const PairingWait wait = PairingWait::begin(testing::golden_volume(), kNow);
  // It knows the fingerprint, of course: everything but the secret.
  Bytes guess = to_bytes(PairingCode::make(wait.request()).text().view());
  auto other = PairingCode::parse(as_string(guess)).value();
  ASSERT_TRUE(other.fits(wait.request()));
  auto refused = wait.open(seal_pairing_answer(wait.request(), other, contents()).value());
  EXPECT_EQ(refused.error().code(), Code::kCorrupt);
}

TEST(Pairing, AnAnswerToAnotherRequestDoesNotOpen) {
  const PairingWait a = PairingWait::begin(testing::golden_volume(), kNow);
  const PairingWait b = PairingWait::begin(testing::golden_volume(), kNow);
  EXPECT_FALSE(a.code().fits(b.request()));
  Bytes answer = seal_pairing_answer(b.request(), b.code(), contents()).value();
  EXPECT_FALSE(a.open(answer));
  // Under the other's name.
  std::copy(a.id().bytes.begin(), a.id().bytes.end(), answer.begin() + 10);
  EXPECT_FALSE(a.open(answer));
}

// Both keys are fresh each time, so what the store kept of an earlier attempt is of no use.
TEST(Pairing, NothingRepeats) {
  std::set<Bytes> requests, codes, answers;
  const PairingWait wait = PairingWait::begin(testing::golden_volume(), kNow);
  for (int i = 0; i < 20; ++i) {
    const PairingWait next = PairingWait::begin(testing::golden_volume(), kNow);
    requests.insert(next.request());
    codes.insert(to_bytes(next.code().secret()));
    answers.insert(seal_pairing_answer(wait.request(), wait.code(), contents()).value());
  }
  EXPECT_EQ(requests.size(), 20u);
  EXPECT_EQ(codes.size(), 20u);
  EXPECT_EQ(answers.size(), 20u);
}

TEST(Pairing, AMistypedCodeNamesItsGroup) {
  const std::string text(as_string(testing::vector("pairing.code")));
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '-') continue;
    std::string bad = text;
    bad[i] = text[i] == '7' ? '8' : '7';
    auto code = PairingCode::parse(bad);
    ASSERT_FALSE(code) << bad;
    EXPECT_EQ(code.error().code(), Code::kInvalid);
    EXPECT_EQ(code.error().what(), "code: group " + std::to_string(i / 6 + 1) + " is mistyped");
  }
  EXPECT_EQ(PairingCode::parse(text.substr(0, 41)).error().what(), "code: group 8 is missing");
  EXPECT_EQ(PairingCode::parse(text + "-00000").error().what(), "code: more than 8 groups of 5 characters");
}

TEST(Pairing, AKeyOfSmallOrderIsRefused) {
  PairingRequest request = decode_pairing_request(golden_wait().request()).value();
  request.sealing = PublicKey{};
  const Bytes object = encode(request);
  EXPECT_EQ(seal_pairing_answer(object, PairingCode::make(object), contents()).error().code(), Code::kCorrupt);
}

TEST(Pairing, ALaterVersionIsTold) {
  const PairingWait wait = golden_wait();
  Bytes request = wait.request(), answer = testing::vector("pairing.answer");
  request[8] = answer[8] = 2;
  EXPECT_EQ(decode_pairing_request(request).error().code(), Code::kTooNew);
  EXPECT_EQ(wait.open(answer).error().code(), Code::kTooNew);
}

TEST(Pairing, ThereIsALimit) {
  const PairingWait wait = golden_wait();
  EXPECT_EQ(seal_pairing_answer(wait.request(), wait.code(), Secret(kMaxPairingAnswer)).error().code(),
            Code::kTooLarge);
}

}  // namespace
}  // namespace coffer
