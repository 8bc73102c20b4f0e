// URLs, as far as stores have them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace coffer {

// scheme://[user[:password]@]host[:port][/path][?query]. A value.
struct Url {
  std::string scheme;      // lower case
  std::string host;        // lower case; an IPv6 address without its brackets
  uint16_t port = 0;       // 0: the scheme's own
  std::string path;        // percent-decoded, without the first '/'
  bool has_user = false;   // whatever it was is not kept
  bool has_query = false;  // nor is this

  // HOST or HOST:PORT, as it goes into a Host header and a URL.
  std::string authority() const;
};

// kInvalid for what is not of that form, has control characters or a fragment. The error never quotes `text`,
// which may hold a password.
Result<Url> parse_url(std::string_view text);

// 127.0.0.0/8 or ::1, as a literal. A name such as localhost is none: it resolves to whatever it is told to.
bool is_loopback_literal(std::string_view host);
bool is_ip_literal(std::string_view host);

// Everything but unreserved characters (RFC 3986) becomes %XX; '/' stays with `keep_slashes`.
std::string percent_encode(std::string_view text, bool keep_slashes);
// kInvalid for a '%' without two hex digits.
Result<std::string> percent_decode(std::string_view text);

// `text` fit for an error message: printable ASCII, at most `limit` characters.
std::string printable(std::string_view text, size_t limit = 200);

}  // namespace coffer
