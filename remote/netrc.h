// Passwords for WebDAV, from where ftp and curl have always kept them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace coffer {

struct NetrcEntry {
  std::string login, password;
  bool operator==(const NetrcEntry&) const = default;
};

// $NETRC, or ~/.netrc, or "" without a home.
std::string netrc_path();
// The first entry for `host` (letter case does not matter), or the `default` entry if that comes first. A word may be
// "quoted", with \" and \\ in it; a line that begins with '#' is a comment; macros are skipped.
std::optional<NetrcEntry> find_in_netrc(std::string_view text, std::string_view host);
// The same from the file; nothing when there is no such file. kDenied when it cannot be read.
Result<std::optional<NetrcEntry>> read_netrc(const std::string& path, const std::string& host);

}  // namespace coffer
