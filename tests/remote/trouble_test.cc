// Stores against a server that refuses, breaks off, stalls and lies.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "loopback_server.h"
#include "remote/http_client.h"
#include "remote/s3_store.h"
#include "remote/webdav_store.h"

namespace coffer {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t kNoLimit = 1 << 30;
constexpr const char* kSecret = "TOPSECRET0123456789";

Nanos now() { return Clock::system().monotonic(); }

// Retries without waiting, and remembers for how long it would have waited.
struct Sleeps {
  RetryEnvironment environment() {
    RetryEnvironment e = RetryEnvironment::system();
    e.random = [] { return 0.5; };
    e.sleep = [this](Nanos d, std::stop_token stop) {
      std::lock_guard lock(mutex);
      all.push_back(d);
      return !stop.stop_requested();
    };
    return e;
  }
  std::mutex mutex;
  std::vector<Nanos> all;
};

class Trouble : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "coffer-trouble-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    ::setenv("NETRC", (directory + "/netrc").c_str(), 1);
    write_netrc(kSecret);
  }
  void TearDown() override {
    std::filesystem::remove_all(directory);
    ::unsetenv("NETRC");
  }
  void write_netrc(const std::string& password) {
    std::ofstream(directory + "/netrc") << "machine 127.0.0.1 login user password " << password << "\n";
  }

  std::unique_ptr<HttpClient> client(HttpOptions options = {}) {
    options.allow_plaintext_loopback = true;
    meter = std::make_shared<TransferMeter>();
    return std::make_unique<HttpClient>(*HttpEngine::start(options, meter), RetryPolicy{}, sleeps.environment());
  }
  std::unique_ptr<S3Store> s3(const LoopbackServer& server, HttpOptions options = {}) {
    AwsEnvironment environment;
    environment.variable = [this](const char* name) -> std::optional<std::string> {
      if (std::string_view(name) == "AWS_ACCESS_KEY_ID") return access_key;
      if (std::string_view(name) == "AWS_SECRET_ACCESS_KEY") return kSecret;
      if (std::string_view(name) == "AWS_SESSION_TOKEN" && !session_token.empty()) return session_token;
      return std::nullopt;
    };
    S3Place place{"http", server.authority(), "bucket", "vol/", "us-east-1", true};
    return std::make_unique<S3Store>(place, client(options), std::make_unique<AwsCredentialSource>(environment));
  }
  std::unique_ptr<WebdavStore> dav(const LoopbackServer& server) {
    return std::make_unique<WebdavStore>(WebdavPlace{"http", server.authority(), "127.0.0.1", "dav", false, 4},
                                         client());
  }

  std::string directory;
  std::string access_key = "ACCESS1", session_token;
  Sleeps sleeps;
  std::shared_ptr<TransferMeter> meter;
};

std::string s3_error(const std::string& code, const std::string& message = "Because") {
  return "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>";
}

// ---- S3

struct StatusCase {
  int status;
  std::string body;
  Code code;
  size_t requests;
  std::string hint;
};

TEST_F(Trouble, s3_statuses_mean_what_they_should) {
  for (const StatusCase& c :
       std::vector<StatusCase>{{401, "", Code::kDenied, 1, "credentials"},
                               {403, s3_error("AccessDenied"), Code::kDenied, 1, "AccessDenied: Because"},
                               {403, s3_error("SignatureDoesNotMatch"), Code::kDenied, 1, "secret key"},
                               {403, s3_error("RequestTimeTooSkewed"), Code::kDenied, 1, "clock"},
                               {400, s3_error("ExpiredToken"), Code::kDenied, 1, "renew"},
                               {404, s3_error("NoSuchKey"), Code::kNotFound, 1, "404"},
                               {404, "", Code::kNotFound, 1, "404"},
                               {404, s3_error("NoSuchBucket"), Code::kInvalid, 1, "make the bucket"},
                               {301, s3_error("PermanentRedirect"), Code::kInvalid, 1, "region"},
                               {400, s3_error("AuthorizationHeaderMalformed"), Code::kInvalid, 1, "region"},
                               {429, "", Code::kUnavailable, 5, "5 attempts"},
                               {500, s3_error("InternalError"), Code::kUnavailable, 5, "InternalError"},
                               {502, "<html>bad gateway", Code::kUnavailable, 5, "502"},
                               {503, s3_error("SlowDown"), Code::kUnavailable, 5, "SlowDown"},
                               {400, s3_error("RequestTimeout"), Code::kUnavailable, 5, "RequestTimeout"},
                               {501, s3_error("NotImplemented"), Code::kUnsupported, 1, "501"},
                               {507, "", Code::kNoSpace, 1, "quota"},
                               {403, s3_error("QuotaExceeded"), Code::kNoSpace, 1, "QuotaExceeded"}}) {
    LoopbackServer server([&](const SeenRequest&) { return ScriptedReply::status(c.status, c.body); });
    auto store = s3(server);
    auto r = store->get("obj/00/x", kNoLimit);
    ASSERT_FALSE(r);
    std::string text = r.error().what();
    EXPECT_EQ(r.error().code(), c.code) << c.status << c.body << ": " << text;
    EXPECT_EQ(server.seen().size(), c.requests) << text;
    EXPECT_NE(text.find(c.hint), std::string::npos) << text;
    EXPECT_NE(text.find("get obj/00/x"), std::string::npos) << text;
    EXPECT_EQ(text.find(kSecret), std::string::npos);
    EXPECT_EQ(text.find(access_key), std::string::npos);
    EXPECT_EQ(meter->counters().get, c.requests);
    EXPECT_EQ(meter->counters().retries, c.requests - 1);
  }
}

TEST_F(Trouble, trouble_that_passes_is_not_seen) {
  LoopbackServer server([](const SeenRequest& r) {
    if (r.index == 0) return ScriptedReply::status(503, s3_error("SlowDown"), "Retry-After: 7\r\n");
    if (r.index == 1) return ScriptedReply{.bytes = "", .close = true};
    if (r.index == 2)
      return ScriptedReply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", .close = true};
    return ScriptedReply::status(200, "0123456789");
  });
  auto r = s3(server)->get("obj/00/x", kNoLimit);
  ASSERT_TRUE(r) << r.error().what();
  EXPECT_EQ(as_string(*r), "0123456789");
  ASSERT_GE(sleeps.all.size(), 2U);
  EXPECT_EQ(sleeps.all[0], seconds(7));  // as the server asked
  EXPECT_LT(sleeps.all[1], seconds(1));
}

TEST_F(Trouble, a_body_cut_in_the_middle_is_never_an_object) {
  LoopbackServer server([](const SeenRequest&) {
    return ScriptedReply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + std::string(500, 'x'),
                         .close = true};
  });
  auto store = s3(server);
  EXPECT_EQ(store->get("obj/00/x", kNoLimit).error().code(), Code::kUnavailable);
  EXPECT_EQ(store->get_range("obj/00/x", 0, 1000).error().code(), Code::kUnavailable);
}

TEST_F(Trouble, a_body_without_a_length_is_never_an_object) {
  LoopbackServer server([](const SeenRequest&) {
    return ScriptedReply{.bytes = "HTTP/1.1 200 OK\r\n\r\nperhaps all of it", .close = true};
  });
  auto store = s3(server);
  EXPECT_EQ(store->get("obj/00/x", kNoLimit).error().code(), Code::kCorrupt);
  EXPECT_EQ(store->get_range("obj/00/x", 0, 1000).error().code(), Code::kCorrupt);
}

TEST_F(Trouble, ranges_are_checked) {
  const std::string object = "0123456789";
  std::atomic<int> mode = 0;
  LoopbackServer server([&](const SeenRequest&) {
    switch (mode) {
      case 0:
        return ScriptedReply::status(200, object);  // ignores the range
      case 1:
        return ScriptedReply::status(206, "345", "Content-Range: bytes 3-5/10\r\n");
      case 2:
        return ScriptedReply::status(206, "012", "Content-Range: bytes 0-2/10\r\n");  // other bytes
      case 3:
        return ScriptedReply::status(206, "34", "Content-Range: bytes 3-4/10\r\n");  // too few
      case 4:
        return ScriptedReply::status(206, "3456", "Content-Range: bytes 3-6/10\r\n");  // too many
      case 5:
        return ScriptedReply::status(206, "345", "");
      case 6:
        return ScriptedReply::status(206, "34", "Content-Range: bytes 3-4/5\r\n");  // the object ends there
      case 7:
        return ScriptedReply::status(416, "", "Content-Range: bytes */2\r\n");
      default:
        return ScriptedReply::status(200, "0123");
    }
  });
  auto store = s3(server);
  std::vector<std::string> expected = {"345", "345", "!", "!", "!", "!", "34", "", "3"};
  for (size_t i = 0; i < expected.size(); ++i) {
    mode = static_cast<int>(i);
    auto r = store->get_range("obj/00/x", 3, 3);
    if (expected[i] == "!") {
      ASSERT_FALSE(r) << i;
      EXPECT_EQ(r.error().code(), Code::kCorrupt) << r.error().what();
    } else {
      ASSERT_TRUE(r) << i << ": " << r.error().what();
      EXPECT_EQ(as_string(*r), expected[i]) << i;
    }
  }
}

TEST_F(Trouble, a_server_that_ignores_ranges_of_a_large_object_is_cut_short) {
  std::string object(6 << 20, 'x');
  for (size_t i = 0; i < object.size(); i += 1000) object[i] = static_cast<char>('a' + i / 1000 % 26);
  LoopbackServer server([&](const SeenRequest&) { return ScriptedReply::status(200, object); });
  auto r = s3(server)->get_range("obj/00/x", 1 << 20, 5000);
  ASSERT_TRUE(r) << r.error().what();
  EXPECT_EQ(as_string(*r), object.substr(1 << 20, 5000));
  EXPECT_LT(meter->counters().bytes_down, 3U << 20);
}

TEST_F(Trouble, too_long_a_body_is_refused_before_it_is_read) {
  LoopbackServer server([](const SeenRequest&) { return ScriptedReply::status(200, std::string(8 << 20, 'x')); });
  EXPECT_EQ(s3(server)->get("obj/00/x", 1000).error().code(), Code::kTooLarge);
  EXPECT_LT(meter->counters().bytes_down, 1U << 20);
  LoopbackServer chunked([](const SeenRequest&) {
    std::string bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 100; ++i) bytes += "400\r\n" + std::string(1024, 'x') + "\r\n";
    return ScriptedReply{.bytes = bytes + "0\r\n\r\n"};
  });
  EXPECT_EQ(s3(chunked)->get("obj/00/x", 1000).error().code(), Code::kTooLarge);
  EXPECT_EQ(s3(chunked)->get("obj/00/x", 102'400)->size(), 102'400U);
}

TEST_F(Trouble, a_stall_ends_in_a_timeout) {
  LoopbackServer silent([](const SeenRequest&) { return ScriptedReply{.bytes = "", .stall = true}; });
  HttpOptions impatient;
  impatient.stall_timeout = milliseconds(300);
  auto store = s3(silent, impatient);
  Nanos begin = now();
  auto r = store->get("obj/00/x", kNoLimit);
  EXPECT_EQ(r.error().code(), Code::kTimedOut) << r.error().what();
  EXPECT_EQ(silent.seen().size(), 5U);
  EXPECT_LT(now() - begin, seconds(10));
  LoopbackServer halfway([](const SeenRequest&) {
    return ScriptedReply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin", .stall = true};
  });
  EXPECT_EQ(s3(halfway, impatient)->get("obj/00/x", kNoLimit).error().code(), Code::kTimedOut);
}

TEST_F(Trouble, readers_of_a_stalled_store_are_freed_at_once) {
  LoopbackServer server([](const SeenRequest& r) {
    if (r.target.find("works") != std::string::npos) return ScriptedReply::status(200, "yes");
    return ScriptedReply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin", .stall = true};
  });
  HttpOptions patient;
  patient.stall_timeout = std::chrono::hours(1);
  auto stalled = s3(server, patient);
  std::stop_source source;
  std::atomic<int> cancelled = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 200; ++i)  // far more than are under way at once
    readers.emplace_back([&] {
      auto r = stalled->get_range("obj/00/x", 0, 1000, source.get_token());
      if (!r && r.error().code() == Code::kCancelled) ++cancelled;
    });
  while (server.seen().size() < 8) std::this_thread::yield();
  Nanos begin = now();
  source.request_stop();
  readers.clear();
  EXPECT_EQ(cancelled, 200);
  EXPECT_LT(now() - begin, seconds(5));
  auto after = stalled->get("obj/00/works", kNoLimit);
  EXPECT_TRUE(after) << after.error().what();
}

TEST_F(Trouble, a_stop_ends_the_wait_before_a_retry) {
  LoopbackServer server([](const SeenRequest&) { return ScriptedReply::status(503); });
  std::stop_source source;
  sleeps.all.clear();
  auto store = s3(server);
  auto environment = sleeps.environment();
  // The fake sleep stops it the first time it is called.
  HttpOptions options;
  options.allow_plaintext_loopback = true;
  environment.sleep = [&](Nanos, std::stop_token stop) {
    source.request_stop();
    return !stop.stop_requested();
  };
  HttpClient direct(*HttpEngine::start(options, nullptr), RetryPolicy{}, environment);
  auto r = direct.exchange(
      "asking",
      [&]() -> Result<HttpRequest> {
        HttpRequest request;
        request.method = "GET";
        request.url = server.url();
        return request;
      },
      [](const HttpResponse& response) { return fail(status_error(response, "")); }, source.get_token());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kCancelled);
  EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(Trouble, credentials_that_were_repaired_are_found) {
  LoopbackServer server([](const SeenRequest& r) {
    bool good = r.headers.at("authorization").find("Credential=ACCESS2/") != std::string::npos;
    return good ? ScriptedReply::status(200, "yes") : ScriptedReply::status(403, s3_error("InvalidAccessKeyId"));
  });
  auto store = s3(server);
  EXPECT_EQ(store->get("obj/00/x", kNoLimit).error().code(), Code::kDenied);
  access_key = "ACCESS2";
  auto r = store->get("obj/00/x", kNoLimit);
  ASSERT_TRUE(r) << r.error().what();
}

TEST_F(Trouble, redirects_are_not_followed) {
  LoopbackServer elsewhere([](const SeenRequest&) { return ScriptedReply::status(200, "caught"); });
  LoopbackServer server(
      [&](const SeenRequest&) { return ScriptedReply::status(307, "", "Location: " + elsewhere.url() + "/obj\r\n"); });
  auto r = s3(server)->get("obj/00/x", kNoLimit);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kInvalid);
  EXPECT_NE(r.error().what().find(elsewhere.authority()), std::string::npos) << r.error().what();
  EXPECT_TRUE(elsewhere.seen().empty());
}

TEST_F(Trouble, s3_listings_go_on_page_by_page_and_are_whole_or_an_error) {
  std::atomic<int> mode = 0;
  LoopbackServer server([&](const SeenRequest& r) {
    auto page = [](const std::string& keys, const std::string& next) {
      return ScriptedReply::status(
          200, "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>" +
                   std::string(next.empty() ? "false" : "true") + "</IsTruncated>" + keys +
                   (next.empty() ? "" : "<NextContinuationToken>" + next + "</NextContinuationToken>") +
                   "</ListBucketResult>");
    };
    auto key = [](const std::string& k) { return "<Contents><Key>" + k + "</Key><Size>1</Size></Contents>"; };
    bool second = r.target.find("continuation-token=t%3D1") != std::string::npos;
    if (mode == 1 && second) return ScriptedReply::status(200, "<ListBucketResult><IsTruncated>false</IsTr");
    if (mode == 2) return page(key("vol/obj/a"), "t=1");  // for ever the same
    if (mode == 3) return ScriptedReply::status(404, s3_error("NoSuchBucket"));
    if (second) return page(key("vol/obj/b") + key("other/obj/c") + key("vol/obj/../d") + key("vol/slot/x"), "");
    return page(key("vol/obj/a"), "t=1");
  });
  auto store = s3(server);
  auto r = store->list("obj/");
  ASSERT_TRUE(r) << r.error().what();
  ASSERT_EQ(r->size(), 2U);
  EXPECT_EQ((*r)[1].key, "obj/b");
  mode = 1;
  EXPECT_EQ(store->list("obj/").error().code(), Code::kCorrupt);
  mode = 2;
  EXPECT_EQ(store->list("obj/").error().code(), Code::kCorrupt);
  mode = 3;
  EXPECT_EQ(store->list("obj/").error().code(), Code::kInvalid);
}

// ---- Limits

TEST_F(Trouble, limits_hold_and_do_not_look_like_stalls) {
  std::string object(600'000, 'x');
  LoopbackServer server(
      [&](const SeenRequest& r) { return ScriptedReply::status(200, r.method == "GET" ? object : ""); });
  auto store = s3(server);
  meter->set_limits(400'000, 400'000);  // a quarter of a second's worth at once: 100,000 bytes
  Nanos begin = now();
  auto put = store->put("obj/00/x", as_bytes(object));
  ASSERT_TRUE(put) << put.error().what();
  EXPECT_GT(now() - begin, milliseconds(1000));
  EXPECT_LT(now() - begin, milliseconds(4000));
  begin = now();
  auto got = store->get("obj/00/x", kNoLimit);
  ASSERT_TRUE(got) << got.error().what();
  EXPECT_EQ(as_string(*got), object);
  EXPECT_GT(now() - begin, milliseconds(900));
  EXPECT_LT(now() - begin, milliseconds(4000));
  EXPECT_EQ(meter->counters().bytes_up, 600'000U);
  EXPECT_EQ(meter->counters().bytes_down, 600'000U);
}

TEST_F(Trouble, a_slow_but_steady_upload_is_no_stall) {
  // All of it fits into the kernel's buffers long before the server has read it: longer than the stall time passes
  // without a callback.
  LoopbackServer server([](const SeenRequest&) { return ScriptedReply::status(200); }, 40);
  HttpOptions options;
  options.stall_timeout = milliseconds(700);
  auto store = s3(server, options);
  Nanos begin = now();
  auto r = store->put("obj/00/x", Bytes(3 << 20));
  ASSERT_TRUE(r) << r.error().what();
  EXPECT_EQ(server.seen().size(), 1U);
  EXPECT_GT(now() - begin, milliseconds(1000));
}

// ---- WebDAV

// A WebDAV server that keeps files in a map, with a hook before each answer.
class FakeDav {
 public:
  std::function<std::optional<ScriptedReply>(const SeenRequest&)> before = [](const SeenRequest&) {
    return std::nullopt;
  };
  std::string password = kSecret;
  bool lose_answer_of_next_move = false;

  ScriptedReply answer(const SeenRequest& r) {
    std::lock_guard lock(mutex_);
    if (auto reply = before(r)) return *reply;
    if (r.headers.find("authorization") == r.headers.end() || r.headers.at("authorization") != authorization())
      return ScriptedReply::status(401, "", "WWW-Authenticate: Newauth realm=\"a\", Basic realm=\"Digest, x\"\r\n");
    std::string path = r.target;
    while (path.ends_with('/')) path.pop_back();
    if (r.method == "PUT") files_[path] = r.body;
    if (r.method == "PUT" || r.method == "MKCOL") {
      if (r.method == "MKCOL") collections_.insert(path);
      return ScriptedReply::status(201);
    }
    if (r.method == "MOVE") {
      std::string to = r.headers.at("destination");
      to = to.substr(to.find('/', 8));
      if (!files_.contains(path)) return ScriptedReply::status(404);
      files_[to] = files_[path];
      files_.erase(path);
      if (std::exchange(lose_answer_of_next_move, false)) return ScriptedReply{.bytes = "", .close = true};
      return ScriptedReply::status(201);
    }
    if (r.method == "DELETE") return ScriptedReply::status(files_.erase(path) ? 204 : 404);
    if (r.method == "PROPFIND") {
      if (!collections_.contains(path)) return ScriptedReply::status(404);
      std::string xml = "<multistatus xmlns=\"DAV:\">" + entry(path + "/", true, 0);
      if (r.headers.at("depth") == "1") {
        for (const auto& c : collections_)
          if (parent(c) == path) xml += entry(c + "/", true, 0);
        for (const auto& [name, data] : files_)
          if (parent(name) == path) xml += entry(name, false, data.size());
        xml += extra;
      }
      return ScriptedReply::status(207, xml + "</multistatus>");
    }
    if (!files_.contains(path)) return ScriptedReply::status(404);
    return ScriptedReply::status(200, files_[path]);
  }
  std::string extra;  // in every listing
  std::map<std::string, std::string> files() {
    std::lock_guard lock(mutex_);
    return files_;
  }
  void forget_collections() {
    std::lock_guard lock(mutex_);
    collections_ = {"/dav"};
  }

  static std::string entry(const std::string& href, bool collection, size_t size) {
    return "<response><href>" + href + "</href><propstat><prop><resourcetype>" +
           (collection ? "<collection/></resourcetype>"
                       : "</resourcetype><getcontentlength>" + std::to_string(size) + "</getcontentlength>") +
           "</prop><status>HTTP/1.1 200 OK</status></propstat></response>";
  }

 private:
  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
  std::string authorization() const {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string in = "user:" + password, out;
    for (size_t i = 0; i < in.size(); i += 3) {
      uint32_t v = 0;
      for (size_t j = 0; j < 3; ++j) v = v << 8 | (i + j < in.size() ? static_cast<uint8_t>(in[i + j]) : 0);
      for (size_t j = 0; j < 4; ++j) out.push_back(i + j > in.size() ? '=' : kDigits[v >> (18 - 6 * j) & 63]);
    }
    return "Basic " + out;
  }
  std::mutex mutex_;
  std::map<std::string, std::string> files_;
  std::set<std::string> collections_ = {"/dav"};
};

class DavTrouble : public Trouble {
 protected:
  FakeDav fake;
  LoopbackServer server{[this](const SeenRequest& r) { return fake.answer(r); }};
};

TEST_F(DavTrouble, a_put_goes_by_a_temporary_name) {
  auto store = dav(server);
  auto r = store->put("obj/0a/x", as_bytes("data"));
  ASSERT_TRUE(r) << r.error().what();
  EXPECT_EQ(fake.files(), (std::map<std::string, std::string>{{"/dav/obj/0a/x", "data"}}));
  for (const SeenRequest& seen : server.seen()) {
    if (seen.method == "PUT") {
      EXPECT_TRUE(seen.target.starts_with("/dav/tmp~/")) << seen.target;
    }
    if (seen.method == "MOVE") {
      EXPECT_EQ(seen.headers.at("destination"), server.url() + "/dav/obj/0a/x");
      EXPECT_EQ(seen.headers.at("overwrite"), "T");
    }
  }
  size_t made = server.count("MKCOL");
  ASSERT_TRUE(store->put("obj/0a/y", as_bytes("data")));
  EXPECT_EQ(server.count("MKCOL"), made);  // remembered
}

TEST_F(DavTrouble, head_is_listed_by_one_request) {
  auto store = dav(server);
  ASSERT_TRUE(store->put("head/x", as_bytes("hint")));
  size_t before = server.seen().size();
  ASSERT_EQ(store->list("head/")->size(), 1U);
  EXPECT_EQ(server.seen().size(), before + 1);
  EXPECT_EQ(server.seen().back().headers.at("depth"), "1");
}

TEST_F(DavTrouble, a_put_that_breaks_off_leaves_the_old_object) {
  auto store = dav(server);
  ASSERT_TRUE(store->put("head/x", as_bytes("old")));
  fake.before = [](const SeenRequest& r) -> std::optional<ScriptedReply> {
    if (r.method == "PUT") return ScriptedReply{.bytes = "", .close = true};
    return std::nullopt;
  };
  EXPECT_EQ(store->put("head/x", as_bytes("new")).error().code(), Code::kUnavailable);
  EXPECT_EQ(as_string(*store->get("head/x", 100)), "old");
}

TEST_F(DavTrouble, a_move_whose_answer_was_lost_is_done_again_with_all_bytes) {
  auto store = dav(server);
  ASSERT_TRUE(store->put("head/x", as_bytes("old")));
  fake.lose_answer_of_next_move = true;
  auto r = store->put("head/x", as_bytes("new"));
  ASSERT_TRUE(r) << r.error().what();
  EXPECT_EQ(fake.files(), (std::map<std::string, std::string>{{"/dav/head/x", "new"}}));
  EXPECT_EQ(server.count("PUT"), 3U);
}

TEST_F(DavTrouble, collections_that_vanished_are_made_again) {
  auto store = dav(server);
  ASSERT_TRUE(store->put("obj/00/x", as_bytes("x")));
  fake.forget_collections();
  std::atomic<bool> made_again = false;
  fake.before = [&](const SeenRequest& r) -> std::optional<ScriptedReply> {
    made_again = made_again || r.method == "MKCOL";
    if ((r.method == "PUT" || r.method == "MOVE") && !made_again) return ScriptedReply::status(409);
    return std::nullopt;
  };
  auto r = store->put("obj/00/y", as_bytes("y"));
  EXPECT_TRUE(r) << r.error().what();
}

TEST_F(DavTrouble, a_missing_root_is_said_and_not_made) {
  fake.before = [](const SeenRequest& r) -> std::optional<ScriptedReply> {
    if (r.method == "PROPFIND" && r.headers.contains("authorization")) return ScriptedReply::status(404);
    return std::nullopt;
  };
  auto store = dav(server);
  for (const Error& e : {store->list("").error(), store->put("obj/00/x", as_bytes("x")).error()}) {
    EXPECT_EQ(e.code(), Code::kInvalid);
    EXPECT_NE(e.what().find("no such collection"), std::string::npos) << e.what();
  }
  EXPECT_EQ(server.count("MKCOL"), 0U);
}

TEST_F(DavTrouble, a_root_that_vanishes_is_not_an_empty_listing) {
  auto store = dav(server);
  ASSERT_TRUE(store->put("obj/00/x", as_bytes("x")));
  fake.before = [](const SeenRequest& r) -> std::optional<ScriptedReply> {
    if (r.method == "PROPFIND") return ScriptedReply::status(404);
    return std::nullopt;
  };
  EXPECT_FALSE(store->list("obj/"));
  EXPECT_FALSE(store->list(""));
}

TEST_F(DavTrouble, wrong_and_missing_passwords_are_told_apart_from_trouble) {
  write_netrc("WRONGPASSWORD");
  auto store = dav(server);
  auto r = store->get("coffer", 100);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kDenied) << r.error().what();
  EXPECT_NE(r.error().what().find("netrc"), std::string::npos) << r.error().what();
  EXPECT_EQ(r.error().what().find("WRONGPASSWORD"), std::string::npos);
  std::filesystem::remove(directory + "/netrc");
  r = dav(server)->get("coffer", 100);
  EXPECT_EQ(r.error().code(), Code::kDenied) << r.error().what();
  EXPECT_NE(r.error().what().find("machine 127.0.0.1"), std::string::npos) << r.error().what();
  // Repaired while it runs.
  write_netrc(kSecret);
  EXPECT_EQ(store->get("coffer", 100).error().code(), Code::kNotFound);
  EXPECT_TRUE(store->put("coffer", as_bytes("x")));
  // And changed at the server and in netrc.
  fake.password = "CHANGED";
  write_netrc("CHANGED");
  auto put = store->put("coffer", as_bytes("y"));
  EXPECT_TRUE(put) << put.error().what();
}

TEST_F(DavTrouble, broken_listings_are_errors_and_passing_ones_are_not_seen) {
  auto store = dav(server);
  ASSERT_TRUE(store->put("head/x", as_bytes("hint")));
  std::atomic<int> left = 0;
  std::string broken;
  fake.before = [&](const SeenRequest& r) -> std::optional<ScriptedReply> {
    if (r.method == "PROPFIND" && left-- > 0) return ScriptedReply::status(207, broken);
    return std::nullopt;
  };
  std::string begin = "<multistatus xmlns=\"DAV:\">" + FakeDav::entry("/dav/head/", true, 0);
  for (const std::string& text :
       {begin, begin + "<response><href>/dav/head/y</href><status>HTTP/1.1 500 Oops</status></response></multistatus>",
        "<!DOCTYPE x [<!ENTITY e \"x\">]>" + begin + "</multistatus>", std::string("<html></html>"), std::string(""),
        "<multistatus xmlns=\"DAV:\">" + FakeDav::entry("/other/", true, 0) + "</multistatus>"}) {
    broken = text;
    left = 1000;
    auto r = store->list("head/");
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().code(), Code::kCorrupt) << r.error().what();
    left = 0;
    EXPECT_EQ(store->list("head/")->size(), 1U);
  }
  broken = begin;
  left = 2;
  EXPECT_EQ(store->list("head/")->size(), 1U);
}

TEST_F(DavTrouble, hostile_hrefs_are_skipped) {
  auto store = dav(server);
  ASSERT_TRUE(store->put("head/x", as_bytes("hint")));
  for (const char* href : {"/dav/head/../slot/evil", "/dav/head/..", "/dav/head/a%2Fb", "/dav/head/deep/er",
                           "/etc/passwd", "/dav/head/%2e%2e", "/dav/headless", "/dav/head/x", "/dav/head/x%00y",
                           "//evil/dav/head/z", "/dav/head/sp%20ace", "/dav/head/.hidden"})
    fake.extra += FakeDav::entry(href, false, 99);
  auto r = store->list("head/");
  ASSERT_TRUE(r) << r.error().what();
  ASSERT_EQ(r->size(), 1U);
  EXPECT_EQ(r->front().key, "head/x");
  // A collection that says it holds itself, or ever deeper ones, does not catch us.
  fake.extra = FakeDav::entry("/dav/head/", true, 0) + FakeDav::entry("/dav/head/head/", true, 0);
  EXPECT_EQ(store->list("head/")->size(), 1U);
}

TEST_F(DavTrouble, what_is_no_webdav_says_so) {
  for (int status : {200, 405, 501}) {
    fake.before = [&](const SeenRequest&) { return ScriptedReply::status(status, "<html>hello</html>"); };
    auto r = dav(server)->list("");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code(), Code::kInvalid) << r.error().what();
    EXPECT_NE(r.error().what().find("WebDAV"), std::string::npos) << r.error().what();
  }
}

TEST_F(DavTrouble, quota_and_size_limits_are_said) {
  auto store = dav(server);
  int status = 507;
  fake.before = [&](const SeenRequest& r) -> std::optional<ScriptedReply> {
    if (r.method == "PUT") return ScriptedReply::status(status);
    return std::nullopt;
  };
  EXPECT_EQ(store->put("obj/00/x", as_bytes("x")).error().code(), Code::kNoSpace);
  status = 413;
  EXPECT_EQ(store->put("obj/00/x", as_bytes("x")).error().code(), Code::kTooLarge);
}

TEST_F(DavTrouble, temporaries_that_nobody_moved_are_swept_by_the_servers_clock) {
  fake.extra =
      "<response><href>/dav/tmp~/old</href><propstat><prop><resourcetype/><getcontentlength>1</getcontentlength>"
      "<getlastmodified>Mon, 01 Jan 2024 00:00:00 GMT</getlastmodified></prop><status>HTTP/1.1 200 "
      "OK</status></propstat>"
      "</response><response><href>/dav/tmp~/fresh</href><propstat><prop><resourcetype/><getcontentlength>1"
      "</getcontentlength><getlastmodified>Tue, 02 Jan 2024 23:00:00 GMT</getlastmodified></prop><status>HTTP/1.1 200 "
      "OK"
      "</status></propstat></response>";
  fake.before = [&](const SeenRequest& r) -> std::optional<ScriptedReply> {
    if (r.method != "PROPFIND" || r.target != "/dav/tmp~/") return std::nullopt;
    return ScriptedReply::status(
        207, "<multistatus xmlns=\"DAV:\">" + FakeDav::entry("/dav/tmp~/", true, 0) + fake.extra + "</multistatus>",
        "Date: Wed, 03 Jan 2024 00:00:00 GMT\r\n");
  };
  ASSERT_TRUE(dav(server)->put("obj/00/x", as_bytes("x")));
  std::vector<std::string> deleted;
  for (const SeenRequest& r : server.seen())
    if (r.method == "DELETE") deleted.push_back(r.target);
  EXPECT_EQ(deleted, std::vector<std::string>{"/dav/tmp~/old"});
}

// ---- The engine alone

TEST(HttpEngineTest, plaintext_and_credentials_in_urls_are_refused) {
  LoopbackServer server([](const SeenRequest&) { return ScriptedReply::status(200); });
  auto code = [&](bool allow, const std::string& url) {
    HttpOptions options;
    options.allow_plaintext_loopback = allow;
    auto engine = HttpEngine::start(options, nullptr);
    HttpRequest request;
    request.method = "GET";
    request.url = url;
    auto r = (*engine)->perform(request, {});
    return r ? std::string("ok") : std::string(to_string(r.error().code()));
  };
  EXPECT_EQ(code(true, server.url()), "ok");
  EXPECT_EQ(code(false, server.url()), "invalid");
  EXPECT_EQ(code(true, "http://localhost:1/"), "invalid");
  EXPECT_EQ(code(true, "http://192.0.2.1/"), "invalid");
  EXPECT_EQ(code(true, "ftp://127.0.0.1/"), "invalid");
  EXPECT_EQ(code(true, "file:///etc/passwd"), "invalid");
  EXPECT_EQ(code(true, "http://user:pw@" + server.authority()), "invalid");
  EXPECT_EQ(server.seen().size(), 1U);
}

TEST(HttpEngineTest, nobody_listening_is_unavailable) {
  HttpOptions options;
  options.allow_plaintext_loopback = true;
  auto engine = HttpEngine::start(options, nullptr);
  HttpRequest request;
  request.method = "GET";
  request.url = "http://127.0.0.1:1/";
  auto r = (*engine)->perform(request, {});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kUnavailable) << r.error().what();
}

TEST_F(Trouble, a_session_token_is_sent_and_signed) {
  LoopbackServer server([](const SeenRequest&) { return ScriptedReply::status(200, "x"); });
  session_token = "SESSION/token+1";
  EXPECT_TRUE(s3(server)->get("a", kNoLimit));
  session_token.clear();
  EXPECT_TRUE(s3(server)->get("a", kNoLimit));
  auto seen = server.seen();
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].headers["x-amz-security-token"], "SESSION/token+1");
  EXPECT_NE(seen[0].headers["authorization"].find("x-amz-security-token"), std::string::npos);
  EXPECT_FALSE(seen[1].headers.contains("x-amz-security-token"));
}

// The server answers none before it has all of them.
TEST_F(Trouble, transfers_go_on_in_parallel) {
  constexpr int kAtOnce = 6;
  std::mutex mutex;
  std::condition_variable arrived;
  int waiting = 0;
  LoopbackServer server([&](const SeenRequest&) {
    std::unique_lock lock(mutex);
    ++waiting;
    arrived.notify_all();
    bool all = arrived.wait_for(lock, seconds(20), [&] { return waiting >= kAtOnce; });
    return ScriptedReply::status(all ? 200 : 400, "x");
  });
  auto store = s3(server);
  std::atomic<int> answered = 0;
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < kAtOnce; ++i) {
      clients.emplace_back([&, i] {
        std::string key = "k" + std::to_string(i);
        bool ok = i % 2 == 0 ? store->put(key, Bytes(1000, 1)).has_value() : store->get(key, kNoLimit).has_value();
        answered += ok;
      });
    }
  }
  EXPECT_EQ(answered, kAtOnce);
}

TEST(HttpEngineTest, connections_are_reused) {
  LoopbackServer server([](const SeenRequest&) { return ScriptedReply::status(200, "x"); });
  HttpOptions options;
  options.allow_plaintext_loopback = true;
  auto engine = HttpEngine::start(options, nullptr);
  for (int i = 0; i < 50; ++i) {
    HttpRequest request;
    request.method = "GET";
    request.url = server.url();
    request.body_limit = 10;
    ASSERT_TRUE((*engine)->perform(request, {}));
  }
  EXPECT_EQ(server.connections(), 1U);
}

}  // namespace
}  // namespace coffer
