#include "remote/webdav_store.h"

#include <curl/curl.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "remote/netrc.h"
#include "remote/tree_walk.h"
#include "remote/url.h"

namespace coffer {
namespace {

constexpr std::string_view kTemporaries = "tmp~";
constexpr size_t kListingLimit = 256 << 20;
constexpr std::time_t kStaleSeconds = 24 * 3600;
constexpr Nanos kLook = std::chrono::milliseconds(100);  // how long a stop may go unnoticed while another thread works
constexpr Nanos kReplacing = std::chrono::milliseconds(100);

Result<std::string> temporary_path() {
  uint8_t random[12];
  if (::getrandom(random, sizeof random, 0) != sizeof random) return fail(errno_error("getrandom", errno));
  return std::string(kTemporaries) + "/" + hex(random);
}

std::string parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

// The schemes that the answer offers; Basic before Digest, as TLS protects it and it takes no extra round trip.
Result<HttpAuth> offered(const HttpResponse& response) {
  bool basic = false, digest = false;
  for (const auto& [name, value] : response.headers) {
    if (name != "www-authenticate") continue;
    std::string lower;
    for (char c : value) lower.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    // One header may hold several challenges; a parameter's value is quoted, so a scheme follows the begin or a comma.
    for (size_t at = 0; at != std::string::npos; at = lower.find(',', at)) {
      at = lower.find_first_not_of(", ", at);
      if (at == std::string::npos) break;
      std::string_view rest = std::string_view(lower).substr(at);
      basic = basic || rest.starts_with("basic ") || rest == "basic";
      digest = digest || rest.starts_with("digest ");
    }
  }
  if (basic) return HttpAuth::kBasic;
  if (digest) return HttpAuth::kDigest;
  return fail(Code::kUnsupported, "the server wants another kind of credentials than Basic or Digest");
}

}  // namespace

WebdavStore::WebdavStore(WebdavPlace place, std::unique_ptr<HttpClient> client)
    : place_(std::move(place)), client_(std::move(client)) {}

std::string WebdavStore::describe() const {
  return (place_.scheme == "https" ? "webdavs://" : "webdav://") + place_.authority + full_path("");
}

std::string WebdavStore::full_path(const std::string& below) const {
  std::string path = "/" + place_.path;
  if (below.empty()) return path;
  return (path.size() > 1 ? path + "/" : path) + below;
}

std::string WebdavStore::url(const std::string& below) const {
  return place_.scheme + "://" + place_.authority + percent_encode(full_path(below), true);
}

HttpRequest WebdavStore::request(const Call& call, const Session& session) const {
  HttpRequest r;
  r.method = call.method;
  r.url = url(call.path);
  // Collections are named with their slash: nginx refuses MKCOL without, others redirect.
  if ((call.method == "MKCOL" || call.method == "PROPFIND") && !r.url.ends_with('/')) r.url += '/';
  r.headers = call.headers;
  r.body = call.body;
  r.operation = call.operation;
  r.body_limit = call.body_limit;
  r.range = call.range;
  r.auth = session.auth;
  r.user = session.user;
  r.password = session.password;
  return r;
}

Error WebdavStore::judge_failure(const HttpResponse& response) const {
  Error error = status_error(response, "");
  std::string text = place_.scheme + "://" + place_.authority + ": " + error.what();
  if (response.status == 401) {
    text += "; check the entry 'machine " + place_.host + " login USER password PASSWORD' in " + netrc_path();
  } else if (response.status == 405 || response.status == 501) {
    return Error(Code::kInvalid, text + "; this does not look like a WebDAV collection");
  }
  return Error(error.code(), text);
}

WebdavStore::Judge WebdavStore::accept_success() const {
  return [this](const HttpResponse& r) { return r.ok() ? Result<void>() : fail(judge_failure(r)); };
}

// ---- Credentials

Result<WebdavStore::Session> WebdavStore::negotiate(std::stop_token stop) {
  std::string what = "connecting to " + describe();
  // Without a body: lighttpd resets an HTTP/2 stream whose body it does not want, and its answer may get lost.
  Call probe{"PROPFIND", "", {"Depth: 0"}};
  probe.body_limit = 1 << 20;
  auto judge = [&](const HttpResponse& r) -> Result<void> {
    if (r.status == 429 || (r.status >= 500 && r.status != 501)) return fail(judge_failure(r));
    return {};  // anything else is looked at with credentials
  };
  Session session;
  TRY(HttpResponse response, client_->exchange(
                                 what, [&] { return request(probe, Session{}); }, judge, stop));
  std::string file = netrc_path();
  TRY(auto entry, read_netrc(file, place_.host));
  // A server may let anyone read and still want a password for the rest.
  if (response.status != 401 && !entry) return session;
  auto auth = response.status == 401 ? offered(response) : HttpAuth::kBasic;
  if (!auth) return fail(auth.error().in(what));
  if (!entry)
    return fail(Code::kDenied, what + ": the server wants a password, and " + (file.empty() ? "~/.netrc" : file) +
                                   " has none for it: add a line 'machine " + place_.host +
                                   " login USER password PASSWORD' there (chmod 600)");
  session.auth = *auth;
  session.user = entry->login;
  session.password = entry->password;
  return session;
}

Result<WebdavStore::Session> WebdavStore::session(std::stop_token stop) {
  std::optional<Session> known;
  {
    MutexLock lock(mutex_);
    if (session_ && root_checked_) return *session_;
    known = session_;
  }
  if (!known) {
    TRY(known, negotiate(stop));
  }
  TRYV(check_root(*known, stop));
  MutexLock lock(mutex_);
  session_ = *known;
  root_checked_ = true;
  return *known;
}

void WebdavStore::forget(const Session& refused) {
  MutexLock lock(mutex_);
  if (session_ == refused) session_.reset();
}

Result<bool> WebdavStore::is_collection(const Session& session, const std::string& what, const std::string& path,
                                        std::stop_token stop) {
  Call call{"PROPFIND", "", {"Depth: 0", "Content-Type: application/xml; charset=utf-8"}, as_bytes(propfind_body())};
  call.operation = StoreOperation::kList;
  call.body_limit = 1 << 20;
  bool there = false;
  auto judge = [&](const HttpResponse& r) -> Result<void> {
    there = r.status == 207;
    if (r.status == 404 || r.status == 409) return {};
    if (!r.ok()) return fail(judge_failure(r));
    if (!there)
      return fail(Code::kInvalid, "the server answers " + std::to_string(r.status) +
                                      " to PROPFIND; this does not look like a WebDAV collection");
    TRY(auto entries, read_multistatus(r.body));
    if (entries.empty() || !entries.front().collection) return fail(Code::kInvalid, "this is not a collection");
    return {};
  };
  auto make = [&]() -> Result<HttpRequest> {
    HttpRequest r = request(call, session);
    r.url = place_.scheme + "://" + place_.authority + percent_encode(path, true);
    if (!r.url.ends_with('/')) r.url += '/';
    return r;
  };
  TRYV(client_->exchange(what, make, judge, stop));
  return there;
}

Result<void> WebdavStore::check_root(const Session& session, std::stop_token stop) {
  std::string what = "opening " + describe();
  TRY(bool there, is_collection(session, what, full_path(""), stop));
  if (there) return {};
  if (!place_.create)
    return fail(Code::kInvalid, what + ": there is no such collection; check the path, or make it first");
  return make_root(session, full_path(""), stop);
}

Result<HttpResponse> WebdavStore::send(const std::string& what, const Call& call, const Judge& judge,
                                       std::stop_token stop) {
  TRY(Session used, session(stop));
  auto response = client_->exchange(
      what, [&] { return request(call, used); }, judge, stop);
  if (response || response.error().code() != Code::kDenied) return response;
  // A person may have repaired netrc, or the server's settings, since we looked.
  forget(used);
  auto again = session(stop);
  if (!again || *again == used) return response;
  return client_->exchange(
      what, [&] { return request(call, *again); }, judge, stop);
}

// ---- Collections

Result<bool> WebdavStore::mkcol(const Session& session, const std::string& path, std::stop_token stop) {
  std::string what = "making the collection " + path;
  bool there = false;
  auto make = [&]() -> Result<HttpRequest> {
    HttpRequest r = request(Call{"MKCOL", ""}, session);
    r.url = place_.scheme + "://" + place_.authority + percent_encode(path, true) + "/";
    return r;
  };
  auto judge = [&](const HttpResponse& r) -> Result<void> {
    there = r.ok() || r.status == 405;  // 405: it is there already
    if (there || r.status == 409 || r.status == 404) return {};
    return fail(judge_failure(r));
  };
  auto made = client_->exchange(what, make, judge, stop);
  if (made) return there;
  // Apache says 403 to all but one of several clients that make the same collection at once.
  auto after_all = is_collection(session, what, path, stop);
  if (after_all && *after_all) return true;
  return fail(made.error());
}

Result<void> WebdavStore::make_root(const Session& session, const std::string& path, std::stop_token stop) {
  TRY(bool there, mkcol(session, path, stop));
  if (there) return {};
  size_t slash = path.rfind('/');
  if (slash != 0 && slash != std::string::npos) {
    TRYV(make_root(session, path.substr(0, slash), stop));
    TRY(there, mkcol(session, path, stop));
  }
  if (there) return {};
  return fail(Code::kInvalid, "making the collection " + path + ": the server refuses; make it by hand");
}

Result<void> WebdavStore::make_collection(const Session& session, const std::string& path, std::stop_token stop) {
  TRY(bool there, mkcol(session, full_path(path), stop));
  if (!there) return fail(Code::kStale, "the collection above " + full_path(path) + " is gone");
  return {};
}

Result<void> WebdavStore::make_collections(const std::string& path, std::stop_token stop) {
  if (path.empty()) return {};
  {
    MutexLock lock(mutex_);
    while (being_made_.contains(path)) {
      made_.wait_for(mutex_, kLook);
      if (stop.stop_requested()) return fail(Code::kCancelled, "making the collection " + path + ": cancelled");
    }
    if (collections_.contains(path)) return {};
    being_made_.insert(path);
  }
  auto made = [&]() -> Result<void> {
    TRYV(make_collections(parent_of(path), stop));
    TRY(Session used, session(stop));
    return make_collection(used, path, stop);
  }();
  MutexLock lock(mutex_);
  being_made_.erase(path);
  if (made) collections_.insert(path);
  made_.notify_all();
  return made;
}

void WebdavStore::forget_collections() {
  MutexLock lock(mutex_);
  collections_.clear();
  root_checked_ = false;
}

// What puts left behind that never came to their MOVE. By the server's clock on both sides; if that were wrong, the
// MOVE of whoever is still at it would fail, and the put be done again.
void WebdavStore::sweep_temporaries(std::stop_token stop) {
  {
    MutexLock lock(mutex_);
    if (swept_) return;
    swept_ = true;
  }
  auto found = children(std::string(kTemporaries), stop);
  if (!found || !*found || !(*found)->now) return;
  for (const Child& child : (*found)->children)
    if (!child.entry.collection && child.entry.modified && *(*found)->now - *child.entry.modified > kStaleSeconds)
      discard(std::string(kTemporaries) + "/" + child.name, stop);
}

void WebdavStore::discard(const std::string& path, std::stop_token stop) {
  auto used = session(stop);
  if (!used) return;
  Call call{"DELETE", path, {}, std::nullopt};
  // If it fails, a later sweep finds it.
  (void)client_->once(
      "", [&] { return request(call, *used); }, accept_success(), stop);
}

// ---- Objects

Result<void> WebdavStore::put(const std::string& key, BytesView data, std::stop_token stop) {
  TRYV(check_key("put", key, stop));
  RetrySchedule schedule(client_->policy(), client_->environment());
  bool refused_before = false;
  for (;;) {
    TRY(Session used, session(stop));
    auto done = put_once(used, key, data, stop);
    if (done) return done;
    const Error& error = done.error();
    if (error.code() == Code::kCancelled) return done;
    if (error.code() == Code::kDenied && !std::exchange(refused_before, true)) {
      forget(used);
      auto now = session(stop);
      if (now && *now != used) continue;
    }
    // The collections may have gone; the MOVE may have been done and its answer lost. Only all of it again is sure.
    forget_collections();
    bool again = error.retryable() || error.code() == Code::kStale;
    auto wait = again ? schedule.next() : std::nullopt;
    if (!wait && error.code() == Code::kStale) return fail(Code::kUnavailable, error.what());
    if (!wait) return done;
    log_line(LogLevel::kDebug, "trying again: " + error.what());
    if (!client_->environment().sleep(*wait, stop)) return fail(Code::kCancelled, "put " + key + ": cancelled");
    client_->engine().meter().count_retry();
  }
}

Result<void> WebdavStore::put_once(const Session& used, const std::string& key, BytesView data, std::stop_token stop) {
  std::string what = "put " + key;
  TRYV(make_collections(std::string(kTemporaries), stop));
  TRYV(make_collections(parent_of(key), stop));
  sweep_temporaries(stop);
  TRY(std::string temporary, temporary_path());

  Call upload{"PUT", temporary, {"Content-Type: application/octet-stream"}, data, StoreOperation::kPut};
  auto taken = [&](const HttpResponse& r) -> Result<void> {
    if (r.ok()) return {};
    if (r.status == 409 || r.status == 404) return fail(Code::kStale, judge_failure(r).what());  // collection gone
    return fail(judge_failure(r));
  };
  // One attempt per name: a request that broke off may still be at work at the server.
  auto sent = client_->once(
      what, [&] { return request(upload, used); }, taken, stop);
  if (!sent) {
    if (sent.error().code() != Code::kCancelled) discard(temporary, stop);
    return fail(sent.error());
  }
  Call move{"MOVE", temporary, {"Destination: " + url(key), "Overwrite: T"}, std::nullopt};
  auto moved_well = [&](const HttpResponse& r) -> Result<void> {
    if (r.status == 201 || r.status == 204 || r.status == 200) return {};
    if (r.status == 409 || r.status == 404 || r.status == 207) return fail(Code::kStale, judge_failure(r).what());
    return fail(judge_failure(r));
  };
  auto moved = client_->once(
      what, [&] { return request(move, used); }, moved_well, stop);
  if (moved) return {};
  if (moved.error().code() != Code::kCancelled) discard(temporary, stop);
  return fail(moved.error());
}

Result<Bytes> WebdavStore::get(const std::string& key, size_t limit, std::stop_token stop) {
  TRYV(check_key("get", key, stop));
  Call call{"GET", key, {}, std::nullopt, StoreOperation::kGet, limit};
  auto response = send("get " + key, call, accept_success(), stop);
  if (!response && response.error().code() == Code::kDenied && client_->environment().sleep(kReplacing, stop))
    response = send("get " + key, call, accept_success(), stop);  // Apache says 403 while a MOVE replaces the name
  if (!response) return fail(response.error());
  return whole_body("get " + key, *std::move(response));
}

Result<Bytes> WebdavStore::get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop) {
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

Result<void> WebdavStore::remove(const std::string& key, std::stop_token stop) {
  TRYV(check_key("remove", key, stop));
  Call call{"DELETE", key, {}, std::nullopt, StoreOperation::kRemove};
  auto judge = [&](const HttpResponse& r) -> Result<void> {
    if (r.status == 404 || r.status == 410 || (r.ok() && r.status != 207)) return {};
    if (r.status == 207) return fail(Code::kUnavailable, "the server could not remove it (multi-status)");
    return fail(judge_failure(r));
  };
  TRYV(send("remove " + key, call, judge, stop));
  return {};
}

Result<std::optional<WebdavStore::Children>> WebdavStore::children(const std::string& path, std::stop_token stop) {
  std::string what = "list " + path + "/";
  Call call{"PROPFIND", path, {"Depth: 1", "Content-Type: application/xml; charset=utf-8"}, as_bytes(propfind_body())};
  call.operation = StoreOperation::kList;
  call.body_limit = kListingLimit;
  std::optional<std::vector<DavEntry>> entries;
  std::optional<std::time_t> now;
  auto judge = [&](const HttpResponse& r) -> Result<void> {
    entries.reset();
    if (r.status == 404) return {};
    if (r.status != 207) {
      if (!r.ok()) return fail(judge_failure(r));
      return fail(Code::kInvalid, "the server answers " + std::to_string(r.status) +
                                      " to PROPFIND; this does not look like a WebDAV collection");
    }
    TRY(entries, read_multistatus(r.body));
    time_t date = curl_getdate(std::string(r.header("date")).c_str(), nullptr);
    if (date > 0) now = date;
    return {};
  };
  TRYV(send(what, call, judge, stop));
  if (!entries) return std::nullopt;

  const std::string self = full_path(path);
  const std::string below = self.ends_with('/') ? self : self + "/";
  bool described_itself = false;
  Children found{{}, now};
  std::set<std::string> names;
  for (DavEntry& entry : *entries) {
    if (entry.path == self) {
      if (!entry.collection) return std::nullopt;  // a foreign file under the name of a collection
      described_itself = true;
    } else if (entry.path.starts_with(below)) {
      std::string name = entry.path.substr(below.size());
      // Whatever else a hostile or odd server names (paths elsewhere, "..", deeper ones, twice the same) is foreign.
      if (name.find('/') == std::string::npos && names.insert(name).second)
        found.children.push_back({name, std::move(entry)});
    }
  }
  if (!described_itself)
    return fail(Code::kCorrupt, what + ": " + place_.authority + " describes " +
                                    printable(entries->empty() ? "nothing" : entries->front().path, 80) +
                                    " where it was asked about " + printable(self, 80) +
                                    "; is a proxy in between that rewrites paths?");
  return found;
}

Result<std::vector<ObjectInfo>> WebdavStore::list(const std::string& prefix, std::stop_token stop) {
  TRYV(check_prefix(prefix, stop));
  Mutex mutex(Rank::kLeaf);
  std::vector<ObjectInfo> objects;
  const std::string top = prefix.empty() ? "" : prefix.substr(0, prefix.size() - 1);
  bool top_missing = false;
  auto visit = [&](const std::string& collection, std::stop_token walking) -> Result<std::vector<std::string>> {
    std::vector<std::string> below;
    TRY(auto found, children(collection, walking));
    if (!found) {  // made by nobody yet, or removed meanwhile
      top_missing = top_missing || collection == top;
      return below;
    }
    std::vector<ObjectInfo> here;
    for (Child& child : found->children) {
      std::string key = collection.empty() ? child.name : collection + "/" + child.name;
      if (!valid_object_key(key)) continue;
      if (child.entry.collection) {
        below.push_back(std::move(key));
      } else if (child.entry.size) {
        here.push_back({std::move(key), *child.entry.size});
      } else {
        return fail(Code::kCorrupt, "list " + prefix + ": the server does not tell the size of " + key);
      }
    }
    MutexLock lock(mutex);
    objects.insert(objects.end(), here.begin(), here.end());
    return below;
  };
  TRYV(walk_tree(top, place_.parallel, visit, stop));
  if (top_missing) {
    // An empty answer is right only as long as the volume's own collection is there.
    TRY(Session used, session(stop));
    TRYV(check_root(used, stop));
  }
  return objects;
}

}  // namespace coffer
