// Requests that are tried again as long as that helps.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "remote/http_engine.h"
#include "remote/retry.h"

namespace coffer {

// An engine with a retry policy. Thread-safe.
class HttpClient {
 public:
  // Builds the request anew for each attempt: signatures carry the time.
  using Make = std::function<Result<HttpRequest>()>;
  // Ok for an answer that serves; otherwise what it means. Tried again are retryable errors, and
  // kCorrupt: a listing that broke off is whole the next time.
  using Judge = std::function<Result<void>(const HttpResponse&)>;

  HttpClient(std::unique_ptr<HttpEngine> engine, RetryPolicy policy = {},
             RetryEnvironment environment = RetryEnvironment::system());

  // `what` begins every error text: the operation and its key.
  Result<HttpResponse> exchange(const std::string& what, const Make& make, const Judge& judge, std::stop_token stop);
  // The same without a second attempt.
  Result<HttpResponse> once(const std::string& what, const Make& make, const Judge& judge, std::stop_token stop);

  HttpEngine& engine() { return *engine_; }
  const RetryPolicy& policy() const { return policy_; }
  const RetryEnvironment& environment() const { return environment_; }

 private:
  const std::unique_ptr<HttpEngine> engine_;
  const RetryPolicy policy_;
  const RetryEnvironment environment_;
};

// Retry-After in seconds; a date is measured against the answer's own Date, so that our clock does not matter.
std::optional<Nanos> retry_after(const HttpResponse& response);

// What a status means by itself, for stores to refine: 401/403 kDenied, 404 kNotFound, 408/429/5xx kUnavailable, 507
// kNoSpace, 501/505 kUnsupported, 3xx kInvalid (redirects are not followed). `detail` is the server's own words.
Error status_error(const HttpResponse& response, const std::string& detail);

// Checks and trims the answer to a request with a range: exactly the bytes asked for, as far as the object has them, or
// kCorrupt. 416 means that the object ends before.
Result<Bytes> range_body(const std::string& what, const HttpRequest::Range& range, HttpResponse response);
// The body of an answer to a request for the whole; kCorrupt if it may have broken off unnoticed.
Result<Bytes> whole_body(const std::string& what, HttpResponse response);

}  // namespace coffer
