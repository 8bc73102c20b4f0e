#include "remote/http_engine.h"

#include <curl/curl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>

#include "base/clock.h"
#include "base/thread.h"
#include "remote/url.h"

namespace coffer {
namespace {

constexpr size_t kErrorBodyKept = 64 * 1024;
constexpr size_t kErrorBodyMost = 1 << 20;
constexpr size_t kMostHeaders = 200;
constexpr int kTickMilliseconds = 500;     // how often stalls are looked for while transfers run
constexpr int kIdleMilliseconds = 60'000;  // nothing to do: a wakeup ends it

Nanos now() { return Clock::system().monotonic(); }

bool global_init() {
  static std::once_flag once;
  static CURLcode result;
  std::call_once(once, [] { result = curl_global_init(CURL_GLOBAL_DEFAULT); });
  return result == CURLE_OK;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n' || text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

Error transport_error(CURLcode result, const std::string& method, const std::string& authority, const char* detail) {
  std::string reason = printable(*detail != '\0' ? detail : curl_easy_strerror(result), 300);
  std::string text = method + " " + authority + ": ";
  switch (result) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
      return Error(Code::kUntrusted, text + "the server's certificate does not verify (" + reason +
                                         "); nothing was sent. If it is signed by an authority of your own, name that "
                                         "with --ca-file; if this comes as a surprise, somebody may be in between");
    case CURLE_SSL_CONNECT_ERROR:
      if (contains(reason, "wrong version number") || contains(reason, "protocol version") ||
          contains(reason, "unsupported protocol"))
        return Error(Code::kUntrusted, text + "the server does not speak TLS 1.2 or newer there (" + reason + ")");
      return Error(Code::kUnavailable, text + "the TLS handshake failed (" + reason + ")");
    case CURLE_SSL_CACERT_BADFILE:
      return Error(Code::kInvalid, text + "the CA file cannot be used (" + reason + ")");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return Error(Code::kInvalid, text + "not a usable URL (" + reason + ")");
    case CURLE_COULDNT_RESOLVE_HOST:
      return Error(Code::kUnavailable,
                   text + "the name does not resolve (" + reason + "); no network, or a wrong name");
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Error(Code::kUnavailable, text + "the proxy's name does not resolve (" + reason + ")");
    case CURLE_COULDNT_CONNECT:
      return Error(Code::kUnavailable, text + "cannot connect (" + reason + ")");
    case CURLE_OPERATION_TIMEDOUT:
      return Error(Code::kTimedOut, text + "no answer in time (" + reason + ")");
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
      return Error(Code::kUnavailable, text + "the answer broke off (" + reason + ")");
    case CURLE_OUT_OF_MEMORY:
      return Error(Code::kNoSpace, text + "out of memory");
    default:
      return Error(Code::kUnavailable, text + reason);
  }
}

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return "";
}

void HttpEngine::MultiDeleter::operator()(void* multi) const { curl_multi_cleanup(multi); }

// The open connections, to look at what their kernel buffers still hold: during a transfer libcurl tells the local port,
// but not the socket. The engine's thread's own, save for the end of the engine.
class HttpEngine::Sockets {
 public:
  explicit Sockets(std::chrono::milliseconds timeout) : timeout_(static_cast<unsigned>(timeout.count())) {}

  // Bytes that the peer has not acknowledged yet; 0 when there is no such connection.
  int unsent(long local_port) const {
    for (curl_socket_t socket : open_) {
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
      in_port_t port = address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                                     : reinterpret_cast<sockaddr_in*>(&address)->sin_port;
      int bytes = 0;
      if (ntohs(port) == local_port && ::ioctl(socket, SIOCOUTQ, &bytes) == 0) return bytes;
    }
    return 0;
  }

  static int on_open(void* self, curl_socket_t socket, curlsocktype) noexcept {
    auto* sockets = static_cast<Sockets*>(self);
    // The kernel gives up on a peer that does not acknowledge; otherwise a connection that died in our sleep would be
    // found out only by the stall timer of each transfer on it.
    ::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &sockets->timeout_, sizeof sockets->timeout_);
    sockets->open_.insert(socket);
    return CURL_SOCKOPT_OK;
  }
  static int on_close(void* self, curl_socket_t socket) noexcept {
    static_cast<Sockets*>(self)->open_.erase(socket);
    return ::close(socket);
  }

 private:
  const unsigned timeout_;
  std::set<curl_socket_t> open_;
};

// Easy handles that are not in use. They are kept rather than reset, because the nonce of Digest lives in them: so
// every option that a request sets is set by every request.
class HttpEngine::Handles {
 public:
  ~Handles() {
    for (CURL* easy : idle_) curl_easy_cleanup(easy);
  }
  CURL* take() {
    if (idle_.empty()) return curl_easy_init();
    CURL* easy = idle_.back();
    idle_.pop_back();
    return easy;
  }
  void give_back(CURL* easy) { idle_.push_back(easy); }

 private:
  std::vector<CURL*> idle_;
};

// One perform() on its way through the engine. Lives on the caller's stack; the engine's thread owns everything in it
// from start() to finish(), save `cancelled`, which anyone may set, and `done`, which the engine's mutex guards.
class HttpEngine::Transfer {
 public:
  Transfer(const HttpRequest& r, const HttpOptions& o, TransferMeter& m, Url u)
      : request(r), options(o), meter(m), url(std::move(u)) {}
  ~Transfer() { curl_slist_free_all(header_list_); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  void start(CURL* handle, Sockets& sockets);
  // Turns libcurl's verdict into `error` or leaves a good response.
  void conclude(CURLcode result);
  bool stalled(const Sockets& sockets);
  void resume_if_allowed();
  bool paused() const { return paused_up_ || paused_down_; }
  Nanos resume_delay() const;
  void fail_with(Error e) {
    if (!error) error = std::move(e);
  }
  std::string name() const { return request.method + " " + url.authority(); }

  const HttpRequest& request;
  const HttpOptions& options;
  TransferMeter& meter;
  const Url url;
  std::atomic<bool> cancelled{false};
  bool done = false;

  CURL* easy = nullptr;
  HttpResponse response;
  std::optional<Error> error;

 private:
  static size_t on_header(char* data, size_t, size_t size, void* self) noexcept;
  static size_t on_body(char* data, size_t, size_t size, void* self) noexcept;
  static size_t on_send(char* buffer, size_t, size_t size, void* self) noexcept;
  static int on_seek(void* self, curl_off_t offset, int origin) noexcept;
  size_t header_line(std::string_view line);
  size_t accept(BytesView data);

  curl_slist* header_list_ = nullptr;
  char detail_[CURL_ERROR_SIZE] = "";
  size_t sent_ = 0;
  uint64_t received_ = 0;    // of the body, wanted or not
  bool had_enough_ = false;  // we ended the transfer ourselves, and that is fine
  bool paused_up_ = false, paused_down_ = false;
  Nanos last_progress_{0};
  int unsent_in_kernel_ = 0;
};

void HttpEngine::Transfer::start(CURL* handle, Sockets& sockets) {
  easy = handle;
  last_progress_ = now();
  for (const std::string& line : request.headers) header_list_ = curl_slist_append(header_list_, line.c_str());
  auto set = [&](CURLoption option, auto value) { curl_easy_setopt(easy, option, value); };
  bool https = url.scheme == "https";
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // do not wait for a resolver thread that hangs
  set(CURLOPT_PROTOCOLS_STR, https ? "https" : "http");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_USERAGENT, "coffer/0.1");
  set(CURLOPT_ERRORBUFFER, detail_);
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  // Nothing for a loopback address goes to a proxy, least of all in plaintext.
  set(CURLOPT_PROXY, is_loopback_literal(url.host) ? "" : static_cast<const char*>(nullptr));

  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options.ca_file.empty()) {
    set(CURLOPT_CAINFO, options.ca_file.c_str());
    set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));  // that authority and no other
  }
  // What has a body goes over HTTP/1.1: when a server answers before it has read all of it (Go's and lighttpd's do),
  // libcurl 7.88 on HTTP/2 loses the answer, and Digest over HTTP/2 fails most of the time. Bulk uploads gain nothing
  // from sharing one connection anyway.
  bool http2 = https && !request.body && request.auth != HttpAuth::kDigest;
  set(CURLOPT_HTTP_VERSION, static_cast<long>(http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  set(CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_SOCKOPTFUNCTION, &Sockets::on_open);
  set(CURLOPT_SOCKOPTDATA, static_cast<void*>(&sockets));
  set(CURLOPT_CLOSESOCKETFUNCTION, &Sockets::on_close);
  set(CURLOPT_CLOSESOCKETDATA, static_cast<void*>(&sockets));
  set(CURLOPT_FRESH_CONNECT, request.fresh_connection ? 1L : 0L);
  set(CURLOPT_BUFFERSIZE, 128L * 1024);

  set(CURLOPT_UPLOAD, request.body ? 1L : 0L);
  if (!request.body) set(CURLOPT_HTTPGET, 1L);
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  set(CURLOPT_INFILESIZE_LARGE, request.body ? static_cast<curl_off_t>(request.body->size()) : curl_off_t{-1});
  std::string range;
  if (request.range)
    range =
        std::to_string(request.range->offset) + "-" + std::to_string(request.range->offset + request.range->length - 1);
  set(CURLOPT_RANGE, request.range ? range.c_str() : static_cast<const char*>(nullptr));
  set(CURLOPT_HTTPHEADER, header_list_);

  long auth = request.auth == HttpAuth::kBasic    ? static_cast<long>(CURLAUTH_BASIC)
              : request.auth == HttpAuth::kDigest ? static_cast<long>(CURLAUTH_DIGEST)
                                                  : static_cast<long>(CURLAUTH_NONE);
  bool credentials = request.auth != HttpAuth::kNone;
  set(CURLOPT_HTTPAUTH, auth);
  set(CURLOPT_USERNAME, credentials ? request.user.c_str() : static_cast<const char*>(nullptr));
  set(CURLOPT_PASSWORD, credentials ? request.password.c_str() : static_cast<const char*>(nullptr));

  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_READFUNCTION, &on_send);
  set(CURLOPT_READDATA, static_cast<void*>(this));
  set(CURLOPT_SEEKFUNCTION, &on_seek);
  set(CURLOPT_SEEKDATA, static_cast<void*>(this));
}

size_t HttpEngine::Transfer::on_header(char* data, size_t, size_t size, void* self) noexcept {
  return static_cast<Transfer*>(self)->header_line({data, size});
}

size_t HttpEngine::Transfer::header_line(std::string_view line) {
  size_t all = line.size();
  last_progress_ = now();
  if (line.starts_with("HTTP/")) {  // a new answer: what came before was 100-continue or a demand for credentials
    response = {};
    received_ = 0;
    size_t space = line.find(' ');
    if (space != std::string_view::npos) response.status = std::atoi(std::string(line.substr(space + 1, 3)).c_str());
    response.length_known = line.starts_with("HTTP/2");
    return all;
  }
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) return all;
  if (response.headers.size() >= kMostHeaders) {
    fail_with(Error(Code::kCorrupt, name() + ": the answer has too many headers"));
    return 0;
  }
  std::string key = lower(line.substr(0, colon));
  std::string value(trim(line.substr(colon + 1)));
  if (key == "content-length" || (key == "transfer-encoding" && lower(value) == "chunked"))
    response.length_known = true;
  response.headers.emplace_back(std::move(key), std::move(value));
  return all;
}

size_t HttpEngine::Transfer::on_body(char* data, size_t, size_t size, void* self) noexcept {
  auto* t = static_cast<Transfer*>(self);
  t->last_progress_ = now();
  if (t->meter.delay(Direction::kDown) > Nanos(0)) {
    t->paused_down_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  t->meter.charge(Direction::kDown, size);
  return t->accept({reinterpret_cast<const uint8_t*>(data), size});
}

// Returns how many bytes it took; fewer than given ends the transfer.
size_t HttpEngine::Transfer::accept(BytesView data) {
  uint64_t position = received_;
  received_ += data.size();
  Bytes& body = response.body;
  if (!response.ok()) {
    size_t room = kErrorBodyKept - std::min(kErrorBodyKept, body.size());
    BytesView kept = data.first(std::min(room, data.size()));
    body.insert(body.end(), kept.begin(), kept.end());
    had_enough_ = received_ > kErrorBodyMost;
    return had_enough_ ? 0 : data.size();
  }
  size_t taken = data.size();
  size_t limit = request.body_limit;
  if (request.range) {
    limit = request.range->length;
    if (response.status == 200) {  // the whole object instead of the range: pick it out
      uint64_t skip = request.range->offset - std::min(request.range->offset, position);
      data = data.subspan(std::min<uint64_t>(skip, data.size()));
      if (data.size() >= limit - body.size()) {
        data = data.first(limit - body.size());
        had_enough_ = true;
      }
    }
  } else if (position == 0) {
    curl_off_t announced = -1;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (announced > 0 && static_cast<uint64_t>(announced) <= limit) body.reserve(static_cast<size_t>(announced));
    if (announced > 0 && static_cast<uint64_t>(announced) > limit) limit = 0;
  }
  if (data.size() > limit - std::min(limit, body.size())) {
    fail_with(Error(request.range ? Code::kCorrupt : Code::kTooLarge,
                    name() + ": the answer is longer than the " +
                        std::to_string(request.range ? request.range->length : request.body_limit) +
                        " bytes that make sense"));
    return 0;
  }
  body.insert(body.end(), data.begin(), data.end());
  return had_enough_ ? 0 : taken;
}

size_t HttpEngine::Transfer::on_send(char* buffer, size_t, size_t size, void* self) noexcept {
  auto* t = static_cast<Transfer*>(self);
  t->last_progress_ = now();
  BytesView rest = t->request.body->subspan(t->sent_);
  size_t want = std::min(size, rest.size());
  if (want == 0) return 0;
  size_t given = t->meter.take(Direction::kUp, want);
  if (given == 0) {
    t->paused_up_ = true;
    return CURL_READFUNC_PAUSE;
  }
  std::memcpy(buffer, rest.data(), given);
  t->sent_ += given;
  return given;
}

int HttpEngine::Transfer::on_seek(void* self, curl_off_t offset, int origin) noexcept {
  auto* t = static_cast<Transfer*>(self);
  if (origin != SEEK_SET || offset < 0 || !t->request.body || static_cast<size_t>(offset) > t->request.body->size())
    return CURL_SEEKFUNC_FAIL;
  t->sent_ = static_cast<size_t>(offset);
  return CURL_SEEKFUNC_OK;
}

// libcurl's own low-speed limit does not know that a rate limit of ours holds a transfer, nor that megabytes of an
// upload may sit in the kernel's buffer and move while no callback is called.
bool HttpEngine::Transfer::stalled(const Sockets& sockets) {
  Nanos t = now();
  if (paused()) {
    last_progress_ = t;
    return false;
  }
  long port = 0;
  if (request.body && curl_easy_getinfo(easy, CURLINFO_LOCAL_PORT, &port) == CURLE_OK) {
    int unsent = sockets.unsent(port);
    if (unsent != unsent_in_kernel_) last_progress_ = t;
    unsent_in_kernel_ = unsent;
  }
  return t - last_progress_ > options.stall_timeout;
}

Nanos HttpEngine::Transfer::resume_delay() const {
  Nanos delay{0};
  if (paused_up_) delay = std::max(delay, meter.delay(Direction::kUp));
  if (paused_down_) delay = std::max(delay, meter.delay(Direction::kDown));
  return delay;
}

void HttpEngine::Transfer::resume_if_allowed() {
  if (!paused() || resume_delay() > Nanos(0)) return;
  paused_up_ = paused_down_ = false;  // before: the callbacks run inside, and may pause again
  last_progress_ = now();
  curl_easy_pause(easy, CURLPAUSE_CONT);
}

void HttpEngine::Transfer::conclude(CURLcode result) {
  if (error) return;
  if (result == CURLE_WRITE_ERROR && had_enough_) return;
  // A server that refuses early may answer and hang up on the rest of our body: its answer counts. Only for Digest a
  // 401 is part of a conversation that broke off.
  bool hung_up = result == CURLE_HTTP2_STREAM || result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR;
  bool refused = response.status >= 400 && !(response.status == 401 && request.auth == HttpAuth::kDigest);
  if (hung_up && refused && request.body) return;
  if (result != CURLE_OK) fail_with(transport_error(result, request.method, url.authority(), detail_));
}

Result<std::unique_ptr<HttpEngine>> HttpEngine::start(HttpOptions options, std::shared_ptr<TransferMeter> meter) {
  if (!global_init()) return fail(Code::kInternal, "libcurl does not start");
  if (!options.ca_file.empty() && options.ca_file.find('\0') != std::string::npos)
    return fail(Code::kInvalid, "the CA file has a NUL in its name");
  std::unique_ptr<HttpEngine> engine(new HttpEngine(std::move(options), std::move(meter)));
  if (!engine->multi_) return fail(Code::kNoSpace, "libcurl: out of memory");
  // The thread inherits a mask that blocks everything: signals are for the program's own threads, and without libcurl's
  // signal handling a write to a closed socket would raise SIGPIPE.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  HttpEngine* self = engine.get();
  engine->thread_ = start_thread("http", [self](std::stop_token stop) { self->run(std::move(stop)); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return engine;
}

HttpEngine::HttpEngine(HttpOptions options, std::shared_ptr<TransferMeter> meter)
    : options_(std::move(options)),
      meter_(meter ? std::move(meter) : std::make_shared<TransferMeter>()),
      sockets_(std::make_unique<Sockets>(options_.stall_timeout)),
      multi_(curl_multi_init()),
      handles_(std::make_unique<Handles>()) {
  if (!multi_) return;
  long connections = 2L * std::max(1U, options_.parallel);
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  curl_multi_setopt(multi_.get(), CURLMOPT_MAX_HOST_CONNECTIONS, connections);
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, connections + 4);
}

HttpEngine::~HttpEngine() = default;

Result<HttpResponse> HttpEngine::perform(const HttpRequest& request, std::stop_token stop) {
  TRY(Url url, parse_url(request.url));
  bool plaintext_allowed = options_.allow_plaintext_loopback && is_loopback_literal(url.host);
  if (url.has_user) return fail(Code::kInvalid, "credentials in a URL are refused");
  if (url.scheme != "https" && !(url.scheme == "http" && plaintext_allowed))
    return fail(Code::kInvalid,
                request.method + " " + url.authority() +
                    ": only https is used, or plain http to a loopback address when that was asked for");
  Transfer transfer(request, options_, *meter_, std::move(url));
  if (stop.stop_requested()) return fail(Code::kCancelled, transfer.name() + ": cancelled");
  {
    MutexLock lock(mutex_);
    incoming_.push_back(&transfer);
  }
  curl_multi_wakeup(multi_.get());
  // Takes no lock: it runs in whatever thread asks to stop, with whatever locks that holds.
  std::stop_callback cancel(stop, [this, &transfer] {
    transfer.cancelled = true;
    curl_multi_wakeup(multi_.get());
  });
  {
    MutexLock lock(mutex_);
    while (!transfer.done) finished_.wait(mutex_);
  }
  if (transfer.error) return fail(*std::move(transfer.error));
  return std::move(transfer.response);
}

void HttpEngine::run(std::stop_token stop) {
  std::stop_callback wake(stop, [this] { curl_multi_wakeup(multi_.get()); });
  while (!stop.stop_requested()) {
    {
      MutexLock lock(mutex_);
      for (Transfer* transfer : incoming_)
        (transfer->request.operation == StoreOperation::kPut ? waiting_uploads_ : waiting_others_).push_back(transfer);
      incoming_.clear();
    }
    end_cancelled_and_stalled();
    start_waiting();
    for (Transfer* transfer : active_) transfer->resume_if_allowed();
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    collect_finished();
    curl_multi_poll(multi_.get(), nullptr, 0, milliseconds_to_next_event(), nullptr);
  }
}

void HttpEngine::start_waiting() {
  for (bool upload : {false, true}) {
    std::deque<Transfer*>& waiting = upload ? waiting_uploads_ : waiting_others_;
    size_t running = static_cast<size_t>(std::ranges::count_if(
        active_, [&](const Transfer* t) { return (t->request.operation == StoreOperation::kPut) == upload; }));
    for (; !waiting.empty() && running < std::max(1U, options_.parallel); ++running) {
      Transfer* transfer = waiting.front();
      waiting.pop_front();
      CURL* easy = handles_->take();
      if (easy == nullptr) {
        transfer->fail_with(Error(Code::kNoSpace, transfer->name() + ": out of memory"));
        finish(transfer);
        continue;
      }
      meter_->count_request(transfer->request.operation);
      transfer->start(easy, *sockets_);
      active_.push_back(transfer);
      if (CURLMcode code = curl_multi_add_handle(multi_.get(), easy); code != CURLM_OK) {
        transfer->fail_with(Error(Code::kInternal, transfer->name() + ": " + curl_multi_strerror(code)));
        finish(transfer);
      }
    }
  }
}

void HttpEngine::collect_finished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* user = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &user);
    auto* transfer = static_cast<Transfer*>(user);
    transfer->conclude(message->data.result);
    finish(transfer);
  }
}

void HttpEngine::end_cancelled_and_stalled() {
  std::vector<Transfer*> ended;
  auto cancelled = [&](Transfer* transfer) {
    if (!transfer->cancelled) return false;
    transfer->fail_with(Error(Code::kCancelled, transfer->name() + ": cancelled"));
    ended.push_back(transfer);
    return true;
  };
  std::erase_if(waiting_uploads_, cancelled);
  std::erase_if(waiting_others_, cancelled);
  for (Transfer* transfer : active_) {
    if (cancelled(transfer) || !transfer->stalled(*sockets_)) continue;
    transfer->fail_with(Error(Code::kTimedOut, transfer->name() + ": nothing moved for " +
                                                   std::to_string(options_.stall_timeout.count()) +
                                                   " ms; the server or the network between is stuck"));
    ended.push_back(transfer);
  }
  for (Transfer* transfer : ended) finish(transfer);
}

int HttpEngine::milliseconds_to_next_event() const {
  if (active_.empty() && waiting_uploads_.empty() && waiting_others_.empty()) return kIdleMilliseconds;
  size_t uploads = static_cast<size_t>(
      std::ranges::count_if(active_, [](const Transfer* t) { return t->request.operation == StoreOperation::kPut; }));
  size_t lane = std::max(1U, options_.parallel);
  if ((!waiting_uploads_.empty() && uploads < lane) || (!waiting_others_.empty() && active_.size() - uploads < lane))
    return 0;
  Nanos wait = std::chrono::milliseconds(kTickMilliseconds);
  for (const Transfer* transfer : active_)
    if (transfer->paused()) wait = std::min(wait, std::max(transfer->resume_delay(), Nanos(1'000'000)));
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count());
}

// The last that the engine does with a transfer: its caller may destroy it as soon as the lock is free.
void HttpEngine::finish(Transfer* transfer) {
  if (transfer->easy != nullptr) {
    curl_multi_remove_handle(multi_.get(), transfer->easy);
    curl_easy_setopt(transfer->easy, CURLOPT_ERRORBUFFER, nullptr);  // it and the headers belong to the transfer
    curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, nullptr);
    handles_->give_back(transfer->easy);
    std::erase(active_, transfer);
  }
  MutexLock lock(mutex_);
  transfer->done = true;
  finished_.notify_all();
}

}  // namespace coffer
