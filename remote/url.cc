#include "remote/url.h"

#include <arpa/inet.h>

#include <charconv>

#include "base/bytes.h"

namespace coffer {
namespace {

bool unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool host_character(char c) { return unreserved(c) && c != '~'; }

}  // namespace

std::string Url::authority() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != 0) text += ":" + std::to_string(port);
  return text;
}

Result<Url> parse_url(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return fail(Code::kInvalid, "URL with a control character");
  size_t colon = text.find("://");
  if (colon == std::string_view::npos || colon == 0) return fail(Code::kInvalid, "not a URL (SCHEME://HOST/PATH)");
  Url url;
  url.scheme = lower(text.substr(0, colon));
  text.remove_prefix(colon + 3);
  std::string_view authority = text.substr(0, text.find_first_of("/?#"));
  std::string_view path = text.substr(authority.size());
  if (path.find('#') != std::string_view::npos)
    return fail(Code::kInvalid, "URL with '#': write %23 when it belongs to the path");
  if (size_t question = path.find('?'); question != std::string_view::npos) {
    url.has_query = true;
    path = path.substr(0, question);
  }
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) {
    url.has_user = true;
    authority.remove_prefix(at + 1);
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    size_t close = authority.find(']');
    if (close == std::string_view::npos) return fail(Code::kInvalid, "URL with '[' but no ']' in its host");
    url.host = lower(authority.substr(1, close - 1));
    in6_addr address;
    if (::inet_pton(AF_INET6, url.host.c_str(), &address) != 1)
      return fail(Code::kInvalid, "URL with a bad IPv6 address");
    port = authority.substr(close + 1);
    if (!port.empty() && port.front() != ':') return fail(Code::kInvalid, "URL with something after the host's ']'");
  } else {
    size_t end = std::min(authority.find(':'), authority.size());
    url.host = lower(authority.substr(0, end));
    port = authority.substr(end);
    for (char c : url.host)
      if (!host_character(c)) return fail(Code::kInvalid, "URL with a character in its host that no host has");
  }
  if (!port.empty()) port.remove_prefix(1);
  if (!port.empty()) {
    auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0)
      return fail(Code::kInvalid, "URL with a bad port");
  }
  if (!path.empty()) path.remove_prefix(1);
  TRY(url.path, percent_decode(path));
  if (url.path.find('\0') != std::string::npos) return fail(Code::kInvalid, "URL with a NUL in its path");
  return url;
}

bool is_loopback_literal(std::string_view host) {
  std::string text(host);
  in_addr v4;
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return ::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_ip_literal(std::string_view host) {
  std::string text(host);
  in6_addr address;
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 || ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

std::string percent_encode(std::string_view text, bool keep_slashes) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (unreserved(c) || (c == '/' && keep_slashes)) {
      out.push_back(c);
    } else {
      auto byte = static_cast<uint8_t>(c);
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    auto byte = unhex(text.substr(i + 1, 2));
    if (!byte || byte->size() != 1) return fail(Code::kInvalid, "'%' without two hex digits after it");
    out.push_back(static_cast<char>(byte->front()));
    i += 2;
  }
  return out;
}

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  for (char c : text.substr(0, limit)) out.push_back(c >= 0x20 && c < 0x7f ? c : '?');
  if (text.size() > limit) out += "...";
  return out;
}

}  // namespace coffer
