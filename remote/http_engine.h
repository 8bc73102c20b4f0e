// HTTP over libcurl: many callers, one thread, one pool of connections.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/result.h"
#include "remote/transfer_meter.h"

namespace coffer {

struct HttpOptions {
  std::string ca_file;                    // PEM, trusted instead of the system's authorities
  bool allow_plaintext_loopback = false;  // http:// to a loopback address literal
  unsigned parallel = 8;                  // transfers at once: uploads, and everything else, each
  std::chrono::milliseconds connect_timeout{15'000};
  std::chrono::milliseconds stall_timeout{30'000};
};

enum class HttpAuth { kNone, kBasic, kDigest };

struct HttpRequest {
  std::string method;
  std::string url;                                    // complete and percent-encoded
  std::vector<std::string> headers;                   // "Name: value"
  std::optional<BytesView> body;                      // borrowed until the call returns
  StoreOperation operation = StoreOperation::kOther;  // for the meter
  size_t body_limit = 0;                              // a longer body of a 2xx answer is kTooLarge
  // Asks for these bytes only. A server that sends the whole object instead is cut off after them.
  struct Range {
    uint64_t offset;
    uint64_t length;  // not 0
  };
  std::optional<Range> range;
  HttpAuth auth = HttpAuth::kNone;
  std::string user, password;
  bool fresh_connection = false;  // after a stall: do not reuse a connection that may be dead
};

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  Bytes body;                                                // of an answer that is not 2xx only the beginning
  bool length_known = false;                                 // a body that broke off would have been noticed

  // The first header of that (lower case) name, or "".
  std::string_view header(std::string_view name) const;
  bool ok() const { return status >= 200 && status < 300; }
};

// Purpose: one place where bytes meet the network. TLS 1.2 or newer, always verified; https only, save for loopback
// literals in plaintext when asked for; no redirect is ever followed. HTTP/2 where offered, for requests without a
// body, which then share a connection. A transfer that moves no byte for the stall time ends, unless a rate limit of
// ours holds it. Uploads and other requests queue apart, so that a reader does not wait behind bulk. Owns its thread
// and shares the meter. Thread-safe; no signal is used, and the thread blocks all of them.
class HttpEngine {
 public:
  static Result<std::unique_ptr<HttpEngine>> start(HttpOptions options, std::shared_ptr<TransferMeter> meter);
  ~HttpEngine();  // no call may be under way
  HttpEngine(const HttpEngine&) = delete;
  HttpEngine& operator=(const HttpEngine&) = delete;

  // One request, one answer, whatever its status. Errors are those of the transport: kUnavailable, kTimedOut,
  // kUntrusted, kCancelled, kTooLarge, kInvalid. Their texts name method and host, never headers or credentials.
  Result<HttpResponse> perform(const HttpRequest& request, std::stop_token stop);

  TransferMeter& meter() { return *meter_; }

 private:
  class Transfer;
  class Handles;
  class Sockets;
  struct MultiDeleter {
    void operator()(void* multi) const;
  };

  HttpEngine(HttpOptions options, std::shared_ptr<TransferMeter> meter);
  void run(std::stop_token stop);
  void start_waiting();
  void collect_finished();
  void end_cancelled_and_stalled();
  int milliseconds_to_next_event() const;
  void finish(Transfer* transfer);

  const HttpOptions options_;
  const std::shared_ptr<TransferMeter> meter_;
  std::unique_ptr<Sockets> sockets_;           // before multi_, which closes them
  std::unique_ptr<void, MultiDeleter> multi_;  // CURLM; only the thread uses it, but for curl_multi_wakeup

  Mutex mutex_{Rank::kRemote};
  CondVar finished_;
  std::deque<Transfer*> incoming_ GUARDED_BY(mutex_);

  // The thread's own.
  std::unique_ptr<Handles> handles_;
  std::deque<Transfer*> waiting_uploads_, waiting_others_;
  std::vector<Transfer*> active_;

  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace coffer
