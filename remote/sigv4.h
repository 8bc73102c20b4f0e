// AWS Signature Version 4, for S3: a pure function. Ours rather than libcurl's CURLOPT_AWS_SIGV4, which in Debian 12's
// 7.88 signs unsorted queries, and parameters without '=', in a way that no server accepts.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace coffer {

struct SigV4Key {
  std::string access_key, secret_key;
  std::string region, service;
};

struct SigV4Request {
  std::string method;
  std::string path;  // as it goes over the wire: percent-encoded once, beginning with '/'
  std::vector<std::pair<std::string, std::string>> query;    // not encoded; any order
  std::vector<std::pair<std::string, std::string>> headers;  // all that are signed, Host among them; any case and order
  std::string payload_hash;                                  // hex of the SHA-256 of the body
};

// "20130524T000000Z"
std::string sigv4_time(WallTime time);
// "a=b&c=d", percent-encoded and sorted: the query as it is signed, to be sent just so.
std::string sigv4_query(const std::vector<std::pair<std::string, std::string>>& query);

// Exposed for the published vectors.
std::string sigv4_canonical_request(const SigV4Request& request);
std::string sigv4_string_to_sign(const SigV4Key& key, const SigV4Request& request, const std::string& time);
// The value of the Authorization header. `time` is also the value of the x-amz-date header, which the caller has put
// among the headers.
std::string sigv4_authorization(const SigV4Key& key, const SigV4Request& request, const std::string& time);

}  // namespace coffer
