#include "remote/sigv4.h"

#include <algorithm>
#include <ctime>

#include "crypto/hash.h"
#include "remote/url.h"

namespace coffer {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// Lower-case names, values without outer blanks and with inner runs of blanks as one, sorted by name.
Pairs canonical_headers(const Pairs& headers) {
  Pairs out;
  for (const auto& [name, value] : headers) {
    std::string key, text;
    for (char c : name) key.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    for (char c : value) {
      if (c == ' ' && (text.empty() || text.back() == ' ')) continue;
      text.push_back(c);
    }
    if (!text.empty() && text.back() == ' ') text.pop_back();
    out.emplace_back(std::move(key), std::move(text));
  }
  std::ranges::stable_sort(out, {}, &Pairs::value_type::first);
  // A header that comes twice is signed once, its values joined.
  Pairs joined;
  for (auto& [name, value] : out) {
    if (!joined.empty() && joined.back().first == name)
      joined.back().second += "," + value;
    else
      joined.emplace_back(std::move(name), std::move(value));
  }
  return joined;
}

std::string signed_headers(const Pairs& canonical) {
  std::string names;
  for (const auto& [name, value] : canonical) names += (names.empty() ? "" : ";") + name;
  return names;
}

std::string scope(const SigV4Key& key, const std::string& time) {
  return time.substr(0, 8) + "/" + key.region + "/" + key.service + "/aws4_request";
}

}  // namespace

std::string sigv4_time(WallTime time) {
  time_t seconds = static_cast<time_t>(time.ns / 1'000'000'000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  size_t n = std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return std::string(text, n);
}

std::string sigv4_query(const Pairs& query) {
  Pairs encoded;
  for (const auto& [name, value] : query)
    encoded.emplace_back(percent_encode(name, false), percent_encode(value, false));
  std::ranges::sort(encoded);
  std::string text;
  for (const auto& [name, value] : encoded) text += (text.empty() ? "" : "&") + name + "=" + value;
  return text;
}

std::string sigv4_canonical_request(const SigV4Request& request) {
  Pairs headers = canonical_headers(request.headers);
  std::string text = request.method + "\n" + request.path + "\n" + sigv4_query(request.query) + "\n";
  for (const auto& [name, value] : headers) text += name + ":" + value + "\n";
  return text + "\n" + signed_headers(headers) + "\n" + request.payload_hash;
}

std::string sigv4_string_to_sign(const SigV4Key& key, const SigV4Request& request, const std::string& time) {
  return "AWS4-HMAC-SHA256\n" + time + "\n" + scope(key, time) + "\n" +
         hex(sha256(as_bytes(sigv4_canonical_request(request))));
}

std::string sigv4_authorization(const SigV4Key& key, const SigV4Request& request, const std::string& time) {
  Sha256 k = hmac_sha256(as_bytes("AWS4" + key.secret_key), as_bytes(time.substr(0, 8)));
  k = hmac_sha256(k, as_bytes(key.region));
  k = hmac_sha256(k, as_bytes(key.service));
  k = hmac_sha256(k, as_bytes("aws4_request"));
  std::string signature = hex(hmac_sha256(k, as_bytes(sigv4_string_to_sign(key, request, time))));
  return "AWS4-HMAC-SHA256 Credential=" + key.access_key + "/" + scope(key, time) +
         ",SignedHeaders=" + signed_headers(canonical_headers(request.headers)) + ",Signature=" + signature;
}

}  // namespace coffer
