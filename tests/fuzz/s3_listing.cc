// What a server answers to ListObjectsV2, and its errors.
#include "remote/s3_listing.h"

#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  auto listing = read_s3_listing(input);
  if (listing) require(!listing->truncated || !listing->continuation.empty(), "a truncated page says where to go on");
  (void)read_s3_error(input);
}
