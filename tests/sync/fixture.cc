#include "tests/sync/fixture.h"

#include <sodium.h>

#include "fs/model/change_set.h"

namespace coffer::test {

const char kGoldenHash[] = "4d8bc4c2bc3e1f182bf81ff8b015d7d75bae5080f6654d5370571b0d10306add";

SigningKey fixed_signing_key(uint8_t byte) {
  uint8_t seed[crypto_sign_SEEDBYTES], pub[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
  std::fill(std::begin(seed), std::end(seed), byte);
  crypto_sign_seed_keypair(pub, secret, seed);
  return SigningKey::from_secret(Secret(BytesView(secret, sizeof secret))).value();
}

model::ChangeSet some_changes(uint64_t seed) {
  model::InodeChange file;
  file.ino = 1000 + seed;
  file.kind = model::InodeChange::Kind::kMade;
  file.mode = 0644;
  file.uid = file.gid = 1000;
  file.atime = file.mtime = file.ctime = file.btime = WallTime{1'700'000'000'000'000'000};
  model::Extent extent;
  extent.length = 50;
  extent.frame_length = 60;
  extent.skip = 10;
  extent.frame = {fixed_id<ObjectId>(0x20), 9, 100, fixed_id<Hash>(0x21)};
  model::ContentChange content;
  content.version = 5;
  content.size = 50;
  content.pieces = {{0, 50, extent}};
  file.content = content;
  model::ChangeSet out;
  out.inodes = {file};
  out.entries = {{1, "name" + std::to_string(seed), 0, file.ino, model::FileType::kRegular}};
  return out;
}

}  // namespace coffer::test
