// What S3 answers, as XML.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "remote/object_store.h"

namespace coffer {

struct S3Listing {
  std::vector<ObjectInfo> objects;  // full S3 keys, whatever they are
  bool truncated = false;
  std::string continuation;  // where the next page begins; never empty when truncated
};

// A page of ListObjectsV2. kCorrupt when anything that matters is missing or makes no sense.
Result<S3Listing> read_s3_listing(BytesView document);

struct S3Error {
  std::string code, message;  // "" when the answer was not S3's XML
};

S3Error read_s3_error(BytesView document);

}  // namespace coffer
