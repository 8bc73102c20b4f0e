// A store in an S3-compatible bucket.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "remote/aws_credentials.h"
#include "remote/http_client.h"
#include "remote/object_store.h"

namespace coffer {

struct S3Place {
  std::string scheme;     // https, or http for an allowed loopback address
  std::string authority;  // HOST[:PORT] of the endpoint, without the bucket
  std::string bucket;
  std::string prefix;  // "" or ends with '/'
  std::string region;
  bool path_style = false;
};

// The object KEY is the S3 object PREFIX + KEY, written by one PUT, which S3 makes visible whole or not at all. Uses
// nothing but PUT, GET, ranged GET, ListObjectsV2 and DELETE, signed with Signature Version 4; bodies are covered by
// x-amz-content-sha256. Credentials are looked for again after a refusal, once per call. Thread-safe.
class S3Store : public ObjectStore {
 public:
  S3Store(S3Place place, std::unique_ptr<HttpClient> client, std::unique_ptr<AwsCredentialSource> credentials);

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override;
  std::string describe() const override;

 private:
  struct Call {
    std::string method;
    std::string key;  // "": the bucket itself
    std::vector<std::pair<std::string, std::string>> query;
    std::optional<BytesView> body;
    StoreOperation operation;
    size_t body_limit = 0;
    std::optional<HttpRequest::Range> range;
  };
  using Judge = HttpClient::Judge;

  Result<HttpResponse> send(const std::string& what, const Call& call, const Judge& judge, std::stop_token stop);
  Result<HttpRequest> sign(const Call& call, const std::string& payload_hash, const AwsCredentials& credentials) const;
  // The answer to a request that failed, in the terms of ObjectStore.
  Error judge_failure(const HttpResponse& response) const;
  std::string where() const { return place_.scheme + "://" + host_; }

  const S3Place place_;
  const std::string host_;
  const std::string base_path_;  // "/" or "/BUCKET/"
  const std::unique_ptr<HttpClient> client_;
  const std::unique_ptr<AwsCredentialSource> credentials_;
};

}  // namespace coffer
