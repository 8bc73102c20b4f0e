// STORE as a person types it, and where a server redirects to.
#include "remote/url.h"

#include "remote/open_store.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {

void run(BytesView input) {
  std::string_view text = as_string(input);
  auto url = parse_url(text);
  if (url) {
    // Put together again, it is the same place.
    auto again = parse_url(url->scheme + "://" + url->authority() + "/" + percent_encode(url->path, true));
    require(again && again->scheme == url->scheme && again->host == url->host && again->port == url->port &&
                again->path == url->path,
            "a URL comes back");
  }
  require(must(percent_decode(percent_encode(text, false))) == text, "percent-encoding comes back");
  require(must(percent_decode(percent_encode(text, true))) == text, "percent-encoding with slashes comes back");
  for (char c : printable(text)) require(c >= 0x20 && c < 0x7f, "what is printed is printable");
  (void)percent_decode(text);
  (void)is_loopback_literal(text);
  StoreConfig config;
  config.url = text;
  (void)check_store_config(config);
  config.url = "s3://bucket/prefix";
  config.endpoint = text;
  (void)check_store_config(config);
}

}  // namespace coffer::fuzz
