// What a server says in its head: when to come back, which bytes it sends, what is wrong.
#include <charconv>

#include "remote/http_client.h"
#include "remote/url.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {

// status, three digits | lines "name: value" | empty line | body
void run(BytesView input) {
  std::string_view text = as_string(input);
  HttpResponse response;
  std::string_view digits = text.substr(0, 3);
  std::from_chars(digits.data(), digits.data() + digits.size(), response.status);
  text.remove_prefix(digits.size());
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) break;
    size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    response.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  response.body = to_bytes(text);
  response.length_known = response.status % 2 == 0;

  if (auto wait = retry_after(response))
    require(wait->count() >= 0 && *wait <= std::chrono::hours(7 * 24), "nobody waits longer than a week");
  (void)status_error(response, "");
  HttpRequest::Range range{5, 10};
  if (auto body = range_body("GET", range, response))
    require(body->size() <= std::max<size_t>(text.size(), 10), "size");
  if (auto body = whole_body("GET", response)) require(body->size() == text.size(), "a whole body is the whole");
}

}  // namespace coffer::fuzz
