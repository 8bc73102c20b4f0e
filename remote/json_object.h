// The strings of a flat JSON object, which is all that a credential_process prints.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace coffer {

// The members of the object whose values are strings, numbers, booleans or null (all but strings as written). Nested
// objects and arrays are checked for form and skipped. kInvalid when `text` is not exactly one JSON object; the error
// does not quote it.
Result<std::map<std::string, std::string>> read_json_object(std::string_view text);

}  // namespace coffer
