// The object `coffer`, from whoever runs the store.
#include "fs/sync/volume.h"
#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  auto head = decode_volume_head(input);
  if (head) require(encode(*head) == to_bytes(input), "a volume head has one form");
}
