#include "remote/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "remote/server_answer.h"
#include "remote/url.h"

namespace coffer {
namespace {

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct ContentRange {
  uint64_t first, last;
  std::optional<uint64_t> total;
};

// "bytes FIRST-LAST/TOTAL", TOTAL may be '*'.
std::optional<ContentRange> parse_content_range(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  size_t dash = text.find('-'), slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) return std::nullopt;
  auto first = number(text.substr(0, dash)), last = number(text.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return ContentRange{*first, *last, number(text.substr(slash + 1))};
}

}  // namespace

HttpClient::HttpClient(std::unique_ptr<HttpEngine> engine, RetryPolicy policy, RetryEnvironment environment)
    : engine_(std::move(engine)), policy_(policy), environment_(std::move(environment)) {}

Result<HttpResponse> HttpClient::exchange(const std::string& what, const Make& make, const Judge& judge,
                                          std::stop_token stop) {
  RetrySchedule schedule(policy_, environment_);
  bool fresh = false;
  for (;;) {
    auto request = make();
    if (!request) return fail(request.error().in(what));
    request->fresh_connection = fresh;
    auto response = engine_->perform(*request, stop);
    auto verdict = response ? judge(*response) : Result<void>(std::unexpected(response.error()));
    if (verdict) return response;
    if (!verdict.error().retryable() && verdict.error().code() != Code::kCorrupt) return fail(verdict.error().in(what));
    fresh = verdict.error().code() == Code::kTimedOut;
    auto wait = schedule.next(response ? retry_after(*response) : std::nullopt);
    if (!wait) {
      std::string tries = schedule.attempts() > 1 ? ", " + std::to_string(schedule.attempts()) + " attempts" : "";
      return fail(verdict.error().in(what + tries));
    }
    log_line(LogLevel::kDebug, "trying again: " + verdict.error().in(what).what());
    if (!environment_.sleep(*wait, stop)) return fail(Code::kCancelled, what + ": cancelled");
    engine_->meter().count_retry();
  }
}

Result<HttpResponse> HttpClient::once(const std::string& what, const Make& make, const Judge& judge,
                                      std::stop_token stop) {
  auto request = make();
  if (!request) return fail(request.error().in(what));
  auto response = engine_->perform(*request, std::move(stop));
  if (!response) return fail(response.error().in(what));
  if (auto verdict = judge(*response); !verdict) return fail(verdict.error().in(what));
  return response;
}

std::optional<Nanos> retry_after(const HttpResponse& response) {
  std::string_view text = response.header("retry-after");
  if (text.empty()) return std::nullopt;
  constexpr uint64_t kMost = 7 * 24 * 3600;
  if (auto seconds = number(text)) return std::chrono::seconds(std::min(*seconds, kMost));
  time_t then = curl_getdate(std::string(text).c_str(), nullptr);
  time_t date = curl_getdate(std::string(response.header("date")).c_str(), nullptr);
  if (then < 0 || date < 0) return std::nullopt;
  return std::chrono::seconds(std::clamp<time_t>(then - date, 0, static_cast<time_t>(kMost)));
}

Error status_error(const HttpResponse& response, const std::string& detail) {
  int status = response.status;
  std::string text = std::string(kServerAnswers) + std::to_string(status);
  if (!detail.empty()) text += " (" + detail + ")";
  if (status >= 300 && status < 400) {
    std::string_view location = response.header("location");
    if (!location.empty()) {
      auto target = parse_url(location);
      text += " and points to " + (target ? target->scheme + "://" + target->authority() : "another path");
    }
    return Error(Code::kInvalid, text + "; redirects are not followed: give the right address");
  }
  switch (status) {
    case 401:
      return Error(Code::kDenied, text + ": credentials are missing or wrong");
    case 403:
      return Error(Code::kDenied, text + ": these credentials are not allowed to do that");
    case 404:
      return Error(Code::kNotFound, text);
    case 408:
    case 423:
    case 425:
      return Error(Code::kUnavailable, text);
    case 413:
      return Error(Code::kTooLarge, text + ": the server's limit for one upload is too low");
    case 429:
      return Error(Code::kUnavailable, text + ": too many requests");
    case 501:
    case 505:
      return Error(Code::kUnsupported, text);
    case 507:
      return Error(Code::kNoSpace, text + ": no room, or the quota is used up");
    default:
      break;
  }
  if (status >= 500) return Error(Code::kUnavailable, text + ": trouble on the server's side");
  return Error(Code::kInvalid, text);
}

Result<Bytes> range_body(const std::string& what, const HttpRequest::Range& range, HttpResponse response) {
  if (response.status == 416) return Bytes();
  Bytes& body = response.body;
  if (response.status == 206) {
    auto got = parse_content_range(response.header("content-range"));
    bool fits = got && got->first == range.offset && got->last - got->first + 1 == body.size() &&
                body.size() <= range.length &&
                (body.size() == range.length || !got->total || *got->total == got->last + 1);
    if (!fits) return fail(Code::kCorrupt, what + ": the server sent other bytes than those that were asked for");
    return std::move(body);
  }
  // 200: the engine has picked the range out of the whole. Fewer bytes mean that the object ended.
  if (body.size() < range.length && !response.length_known)
    return fail(Code::kCorrupt, what + ": an answer without a length, so it may have broken off");
  return std::move(body);
}

Result<Bytes> whole_body(const std::string& what, HttpResponse response) {
  if (response.status != 200)
    return fail(Code::kCorrupt, what + ": the server answers " + std::to_string(response.status) + " to a plain read");
  if (!response.length_known)
    return fail(Code::kCorrupt, what + ": an answer without a length, so it may have broken off");
  return std::move(response.body);
}

}  // namespace coffer
