// What a WebDAV server answers to PROPFIND.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace coffer {

struct DavEntry {
  std::string path;  // percent-decoded, begins with '/', without a '/' at the end (save the root's own)
  bool collection = false;
  std::optional<uint64_t> size;
  std::optional<std::time_t> modified;  // by the server's clock
};

// The body of a PROPFIND that read_multistatus understands the answer to.
std::string_view propfind_body();

// All entries of a multistatus document, in its order. kCorrupt unless it is complete: well-formed to the end, and
// every response in it has a status of success (properties that a thing does not have may be reported missing). Entries
// whose href cannot be decoded are left out.
Result<std::vector<DavEntry>> read_multistatus(BytesView document);

}  // namespace coffer
