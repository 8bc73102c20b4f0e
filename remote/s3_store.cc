#include "remote/s3_store.h"

#include <algorithm>

#include "crypto/hash.h"
#include "remote/s3_listing.h"
#include "remote/sigv4.h"
#include "remote/url.h"

namespace coffer {
namespace {

constexpr size_t kListingLimit = 32 << 20;  // a page is 1,000 keys of at most 1 KiB, which may be encoded

bool is_one_of(const std::string& text, std::initializer_list<std::string_view> list) {
  return std::ranges::find(list, text) != list.end();
}

}  // namespace

S3Store::S3Store(S3Place place, std::unique_ptr<HttpClient> client, std::unique_ptr<AwsCredentialSource> credentials)
    : place_(std::move(place)),
      host_(place_.path_style ? place_.authority : place_.bucket + "." + place_.authority),
      base_path_(place_.path_style ? "/" + percent_encode(place_.bucket, false) + "/" : "/"),
      client_(std::move(client)),
      credentials_(std::move(credentials)) {}

std::string S3Store::describe() const {
  std::string prefix = place_.prefix;
  if (!prefix.empty()) prefix = "/" + prefix.substr(0, prefix.size() - 1);
  return "s3://" + place_.bucket + prefix + " at " + place_.scheme + "://" + place_.authority;
}

Result<HttpRequest> S3Store::sign(const Call& call, const std::string& payload_hash,
                                  const AwsCredentials& credentials) const {
  std::string time = sigv4_time(Clock::system().wall());
  std::string path = base_path_;
  if (!call.key.empty()) path += percent_encode(place_.prefix + call.key, true);
  SigV4Request to_sign{call.method, path, call.query, {{"host", host_}}, payload_hash};
  to_sign.headers.emplace_back("x-amz-content-sha256", payload_hash);
  to_sign.headers.emplace_back("x-amz-date", time);
  if (!credentials.session_token.empty())
    to_sign.headers.emplace_back("x-amz-security-token", credentials.session_token);
  SigV4Key key{credentials.access_key, credentials.secret_key, place_.region, "s3"};

  HttpRequest request;
  request.method = call.method;
  std::string query = sigv4_query(call.query);
  request.url = where() + path + (query.empty() ? "" : "?" + query);
  for (const auto& [name, value] : to_sign.headers)
    if (name != "host") request.headers.push_back(name + ": " + value);
  request.headers.push_back("authorization: " + sigv4_authorization(key, to_sign, time));
  if (call.body) request.headers.emplace_back("content-type: application/octet-stream");
  request.body = call.body;
  request.operation = call.operation;
  request.body_limit = call.body_limit;
  request.range = call.range;
  for (const std::string& header : request.headers)
    if (header.find_first_of("\r\n") != std::string::npos)
      return fail(Code::kDenied, "S3 credentials: with a line break in them");
  return request;
}

Error S3Store::judge_failure(const HttpResponse& response) const {
  S3Error s3 = read_s3_error(response.body);
  const std::string& code = s3.code;
  std::string detail = code.empty() ? "" : code + (s3.message.empty() ? "" : ": " + s3.message);
  Error plain = status_error(response, detail);
  std::string text = where() + ": " + plain.what();
  if (code == "NoSuchBucket")
    return Error(Code::kInvalid, text + "; make the bucket " + place_.bucket +
                                     " first, or give the right name, endpoint "
                                     "and region");
  if (code == "RequestTimeTooSkewed" || code == "RequestExpired")
    return Error(Code::kDenied, text + "; set this machine's clock (timedatectl status)");
  if (code == "SignatureDoesNotMatch")
    return Error(Code::kDenied,
                 text + "; the secret key does not belong to this access key, or the region is not " + place_.region);
  if (is_one_of(code, {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}))
    return Error(Code::kDenied, text + "; renew the session (for example: aws sso login)");
  if (is_one_of(code, {"AccessDenied", "InvalidAccessKeyId", "AccountProblem", "AllAccessDisabled", "NotSignedUp"}))
    return Error(Code::kDenied, text);
  if (is_one_of(code, {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}))
    return Error(Code::kInvalid,
                 text + "; the bucket is in another region than " + place_.region + ", or behind another endpoint");
  if (is_one_of(code, {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted",
                       "TemporaryRedirect", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "Busy"}))
    return Error(Code::kUnavailable, text);
  if (is_one_of(code, {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull"}))
    return Error(Code::kNoSpace, text);
  return Error(plain.code(), text);
}

Result<HttpResponse> S3Store::send(const std::string& what, const Call& call, const Judge& judge,
                                   std::stop_token stop) {
  std::string payload_hash = hex(sha256(call.body.value_or(BytesView())));
  AwsCredentials used;
  auto make = [&]() -> Result<HttpRequest> {
    TRY(used, credentials_->get(stop));
    return sign(call, payload_hash, used);
  };
  auto response = client_->exchange(what, make, judge, stop);
  if (response || response.error().code() != Code::kDenied || used == AwsCredentials{}) return response;
  // They may have been changed since we read them: a person repaired them, or a session was renewed.
  AwsCredentials refused = used;
  credentials_->forget(refused);
  auto again = credentials_->get(stop);
  if (!again || *again == refused) return response;
  return client_->exchange(what, make, judge, stop);
}

Result<void> S3Store::put(const std::string& key, BytesView data, std::stop_token stop) {
  TRYV(check_key("put", key, stop));
  Call call{"PUT", key, {}, data, StoreOperation::kPut, 64 * 1024, {}};
  auto judge = [&](const HttpResponse& r) { return r.ok() ? Result<void>() : fail(judge_failure(r)); };
  TRYV(send("put " + key, call, judge, stop));
  return {};
}

Result<Bytes> S3Store::get(const std::string& key, size_t limit, std::stop_token stop) {
  TRYV(check_key("get", key, stop));
  Call call{"GET", key, {}, std::nullopt, StoreOperation::kGet, limit, {}};
  auto judge = [&](const HttpResponse& r) { return r.ok() ? Result<void>() : fail(judge_failure(r)); };
  TRY(HttpResponse response, send("get " + key, call, judge, stop));
  return whole_body("get " + key, std::move(response));
}

Result<Bytes> S3Store::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
  TRYV(check_key("get", key, stop));
  HttpRequest::Range range{offset, std::max<uint64_t>(length, 1)};  // nothing at all cannot be asked for
  Call call{"GET", key, {}, std::nullopt, StoreOperation::kGet, 0, range};
  auto judge = [&](const HttpResponse& r) {
    return r.ok() || r.status == 416 ? Result<void>() : fail(judge_failure(r));
  };
  TRY(HttpResponse response, send("get " + key, call, judge, stop));
  TRY(Bytes bytes, range_body("get " + key, range, std::move(response)));
  if (length == 0) bytes.clear();
  return bytes;
}

Result<std::vector<ObjectInfo>> S3Store::list(const std::string& prefix, std::stop_token stop) {
  TRYV(check_prefix(prefix, stop));
  std::string what = "list " + prefix;
  std::vector<ObjectInfo> found;
  std::string continuation;
  for (;;) {
    // Encoded, since a foreign key may hold characters that XML cannot.
    Call call{"GET",         "", {{"list-type", "2"}, {"encoding-type", "url"}}, std::nullopt, StoreOperation::kList,
              kListingLimit, {}};
    call.query.emplace_back("prefix", place_.prefix + prefix);
    if (!continuation.empty()) call.query.emplace_back("continuation-token", continuation);
    S3Listing page;
    auto judge = [&](const HttpResponse& r) -> Result<void> {
      if (r.status == 404) return fail(Code::kInvalid, judge_failure(r).what());  // no bucket, or no S3 at all
      if (!r.ok()) return fail(judge_failure(r));
      TRY(page, read_s3_listing(r.body));
      return {};
    };
    TRYV(send(what, call, judge, stop));
    for (ObjectInfo& object : page.objects) {
      if (!object.key.starts_with(place_.prefix)) continue;
      object.key.erase(0, place_.prefix.size());
      if (object.key.starts_with(prefix) && valid_object_key(object.key)) found.push_back(std::move(object));
    }
    if (!page.truncated) return found;
    if (page.continuation == continuation)
      return fail(Code::kCorrupt, what + ": " + where() + " repeats the same page of the listing");
    continuation = page.continuation;
  }
}

Result<void> S3Store::remove(const std::string& key, std::stop_token stop) {
  TRYV(check_key("remove", key, stop));
  Call call{"DELETE", key, {}, std::nullopt, StoreOperation::kRemove, 64 * 1024, {}};
  auto judge = [&](const HttpResponse& r) -> Result<void> {
    if (r.ok()) return {};
    Error error = judge_failure(r);
    if (error.code() == Code::kNotFound) return {};
    return fail(std::move(error));
  };
  TRYV(send("remove " + key, call, judge, stop));
  return {};
}

}  // namespace coffer
