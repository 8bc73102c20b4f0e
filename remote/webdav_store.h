// A store in a WebDAV collection.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "base/mutex.h"
#include "remote/http_client.h"
#include "remote/object_store.h"
#include "remote/webdav_listing.h"

namespace coffer {

struct WebdavPlace {
  std::string scheme;     // https, or http for an allowed loopback address
  std::string authority;  // HOST[:PORT]
  std::string host;       // as netrc names it
  std::string path;       // percent-decoded, without '/' at either end
  bool create = false;    // make that collection when it is missing
  unsigned parallel = 8;  // PROPFINDs at once
};

// The object KEY is the resource PATH/KEY. A put goes to a new name in PATH/tmp~ (no valid key) and is moved into place
// when the server has taken all of it, because several servers show bodies that are still arriving, or keep cut ones.
// Whoever reads a key while it is replaced may be told kNotFound by servers that unlink first (Apache). Uses nothing
// but MKCOL, PUT, GET, PROPFIND, MOVE and DELETE. The server's first answer says whether it wants Basic or Digest; user
// and password are read from netrc, and read again after a refusal. Thread-safe; no lock is held across the network.
class WebdavStore : public ObjectStore {
 public:
  WebdavStore(WebdavPlace place, std::unique_ptr<HttpClient> client);

  Result<void> put(const std::string& key, BytesView data, std::stop_token stop = {}) override;
  Result<Bytes> get(const std::string& key, size_t limit, std::stop_token stop = {}) override;
  Result<Bytes> get_range(const std::string& key, uint64_t offset, size_t length, std::stop_token stop = {}) override;
  Result<std::vector<ObjectInfo>> list(const std::string& prefix, std::stop_token stop = {}) override;
  Result<void> remove(const std::string& key, std::stop_token stop = {}) override;
  std::string describe() const override;

 private:
  // How we talk to the server. Made before the first request, again after a refusal.
  struct Session {
    HttpAuth auth = HttpAuth::kNone;
    std::string user, password;
    bool operator==(const Session&) const = default;
  };
  struct Call {
    std::string method;
    std::string path;  // percent-decoded, below the root collection
    std::vector<std::string> headers = {};
    std::optional<BytesView> body = std::nullopt;
    StoreOperation operation = StoreOperation::kOther;
    size_t body_limit = 64 * 1024;
    std::optional<HttpRequest::Range> range = std::nullopt;
  };
  using Judge = HttpClient::Judge;

  std::string full_path(const std::string& below) const;  // percent-decoded, begins with '/'
  std::string url(const std::string& below) const;
  HttpRequest request(const Call& call, const Session& session) const;

  Result<Session> session(std::stop_token stop);
  // Asks what credentials the server wants, and looks for them.
  Result<Session> negotiate(std::stop_token stop);
  // Checks that the root collection is there, or makes it.
  Result<void> check_root(const Session& session, std::stop_token stop);
  void forget(const Session& refused);

  // With a session, retries, and one more try when the credentials were refused and have changed since.
  Result<HttpResponse> send(const std::string& what, const Call& call, const Judge& judge, std::stop_token stop);
  Error judge_failure(const HttpResponse& response) const;
  Judge accept_success() const;

  Result<void> put_once(const Session& used, const std::string& key, BytesView data, std::stop_token stop);
  // The collection above `key` and those above that; remembers what is there.
  Result<void> make_collections(const std::string& path, std::stop_token stop);
  Result<void> make_collection(const Session& session, const std::string& path, std::stop_token stop);
  // The root collection and, if need be, those above it.
  Result<void> make_root(const Session& session, const std::string& path, std::stop_token stop);
  // Whether a collection is at a percent-decoded absolute path.
  Result<bool> is_collection(const Session& session, const std::string& what, const std::string& path,
                             std::stop_token stop);
  // MKCOL of a percent-decoded absolute path: true when it is there now, false when what is above it is not.
  Result<bool> mkcol(const Session& session, const std::string& path, std::stop_token stop);
  void forget_collections();
  void sweep_temporaries(std::stop_token stop);
  void discard(const std::string& path, std::stop_token stop);

  // The entries directly below a collection, or nothing when there is no such collection.
  struct Child {
    std::string name;
    DavEntry entry;
  };
  struct Children {
    std::vector<Child> children;
    std::optional<std::time_t> now;  // the server's clock
  };
  Result<std::optional<Children>> children(const std::string& path, std::stop_token stop);

  const WebdavPlace place_;
  const std::unique_ptr<HttpClient> client_;

  Mutex mutex_{Rank::kRemote};
  std::optional<Session> session_ GUARDED_BY(mutex_);
  bool root_checked_ GUARDED_BY(mutex_) = false;
  std::set<std::string> collections_ GUARDED_BY(mutex_);  // known to be there
  std::set<std::string> being_made_ GUARDED_BY(mutex_);   // by one thread each, since servers answer the others oddly
  CondVar made_;
  bool swept_ GUARDED_BY(mutex_) = false;
};

}  // namespace coffer
