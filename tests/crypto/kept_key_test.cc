#include "crypto/kept_key.h"

#include <gtest/gtest.h>

#include "vectors.h"

namespace coffer {
namespace {

using testing::golden_secrets;

TEST(KeptKey, HoldsTheKeysAndNotTheSigningKey) {
  Secret text = encode_kept_key(golden_secrets());
  EXPECT_EQ(as_string(text.view()), as_string(testing::vector("kept_key")));
  EXPECT_EQ(as_string(text.view()).find(hex(Bytes(32, 0x33))), std::string_view::npos);  // the seed
  auto kept = decode_kept_key(text.view());
  ASSERT_TRUE(kept) << kept.error().what();
  EXPECT_FALSE(kept->signing_secret);
  VolumeSecrets expected = golden_secrets();
  expected.signing_secret.reset();
  testing::expect_same(*kept, expected);
}

TEST(KeptKey, WhatIsNoneIsRefused) {
  Secret text = encode_kept_key(golden_secrets());
  for (size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(decode_kept_key(text.view().first(size))) << size;
  for (std::string_view bad : {"", "coffer-key-1:", "coffer-key-1:zz", "coffer-key-1:00", "hello"})
    EXPECT_EQ(decode_kept_key(as_bytes(bad)).error().code(), Code::kCorrupt) << bad;
  EXPECT_EQ(decode_kept_key(as_bytes("coffer-key-2:00")).error().code(), Code::kTooNew);
  Bytes longer = to_bytes(text.view());
  longer.push_back('0');
  longer.push_back('0');
  EXPECT_EQ(decode_kept_key(longer).error().code(), Code::kCorrupt);
  VolumeSecrets many = golden_secrets();
  for (Epoch e = 3; e < 200; ++e) many.epoch_keys.emplace(e, Secret::random(32));
  EXPECT_TRUE(decode_kept_key(encode_kept_key(many).view()));
}

}  // namespace
}  // namespace coffer
