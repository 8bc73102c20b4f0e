// Whom the engine believes. Real TLS servers (openssl s_server) with certificates of tests/servers/mkcert.sh.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/fd.h"
#include "remote/helper_process.h"
#include "remote/http_engine.h"
#include "remote/open_store.h"

extern char** environ;

namespace coffer {
namespace {

uint16_t free_port() {
  Fd probe(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

// `openssl s_server -www`: answers every GET with a page about the connection.
class TlsServer {
 public:
  TlsServer(const std::string& certificate, std::vector<std::string> more = {}) : port_(free_port()) {
    std::vector<std::string> words = {
        "openssl", "s_server",  "-quiet", "-www",     "-accept", "127.0.0.1:" + std::to_string(port_),
        "-cert",   certificate, "-key",   certificate};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (int fd : {0, 1, 2})
      posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0);
    EXPECT_EQ(::posix_spawnp(&pid_, "openssl", &actions, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 500; ++i) {
      Fd probe(::socket(AF_INET, SOCK_STREAM, 0));
      if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ADD_FAILURE() << "openssl s_server does not come up";
  }
  ~TlsServer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::string url(const std::string& host = "127.0.0.1") const {
    return "https://" + host + ":" + std::to_string(port_);
  }

 private:
  uint16_t port_;
  pid_t pid_ = -1;
};

class Tls : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = (std::filesystem::temp_directory_path() / "coffer-tls-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    auto made = run_helper({"/bin/sh", COFFER_MKCERT, directory}, 10'000, std::chrono::seconds(60), {});
    ASSERT_TRUE(made) << made.error().what();
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(directory); }

  static std::string pem(const std::string& name) { return directory + "/" + name + ".pem"; }
  static Result<HttpResponse> get(const std::string& url, const std::string& ca) {
    HttpOptions options;
    options.ca_file = ca;
    options.connect_timeout = std::chrono::seconds(10);
    auto engine = HttpEngine::start(options, nullptr);
    HttpRequest request;
    request.method = "GET";
    request.url = url;
    request.body_limit = 1 << 20;
    return (*engine)->perform(request, {});
  }
  static void expect_untrusted(const Result<HttpResponse>& r, const std::string& hint) {
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code(), Code::kUntrusted) << r.error().what();
    EXPECT_NE(r.error().what().find(hint), std::string::npos) << r.error().what();
  }

  static std::string directory;
};
std::string Tls::directory;

TEST_F(Tls, a_good_certificate_is_believed) {
  TlsServer server(pem("server"));
  auto r = get(server.url(), pem("ca"));
  ASSERT_TRUE(r) << r.error().what();
  EXPECT_EQ(r->status, 200);
  EXPECT_TRUE(get(server.url("localhost"), pem("ca")));
}

TEST_F(Tls, an_unknown_authority_is_not) {
  TlsServer server(pem("server"));
  expect_untrusted(get(server.url(), ""), "--ca-file");  // the system's authorities
  TlsServer stranger(pem("stranger"));                   // an authority of the same name
  expect_untrusted(get(stranger.url(), pem("ca")), "does not verify");
  EXPECT_TRUE(get(stranger.url(), pem("stranger-ca")));
}

TEST_F(Tls, an_own_authority_replaces_those_of_the_system) {
  TlsServer server(pem("server"));
  ::setenv("SSL_CERT_FILE", pem("ca").c_str(), 1);
  auto r = get(server.url(), pem("stranger-ca"));
  ::unsetenv("SSL_CERT_FILE");
  expect_untrusted(r, "does not verify");
}

TEST_F(Tls, anothers_certificate_is_not) {
  TlsServer server(pem("other"));  // verifies, but for another host
  expect_untrusted(get(server.url(), pem("ca")), "127.0.0.1");
}

TEST_F(Tls, an_expired_certificate_is_not) {
  TlsServer server(pem("expired"));
  expect_untrusted(get(server.url(), pem("ca")), "expired");
}

TEST_F(Tls, old_protocols_are_refused) {
  TlsServer old(pem("server"), {"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"});
  auto r = get(old.url(), pem("ca"));
  ASSERT_FALSE(r);
  EXPECT_TRUE(r.error().code() == Code::kUntrusted || r.error().code() == Code::kUnavailable) << r.error().what();
  TlsServer current(pem("server"), {"-tls1_2"});
  EXPECT_TRUE(get(current.url(), pem("ca")));
}

TEST_F(Tls, a_store_says_whom_it_does_not_believe) {
  TlsServer server(pem("expired"));
  for (const std::string& url : {std::string("s3://bucket"), "webdavs" + server.url().substr(5) + "/dav"}) {
    ::setenv("AWS_ACCESS_KEY_ID", "ACCESSKEY", 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", "SECRETKEY", 1);
    StoreConfig config{.url = url, .endpoint = server.url(), .ca_file = pem("ca")};
    auto store = open_store(config);
    ASSERT_TRUE(store);
    for (const Error& e : {(*store)->get("coffer", 100).error(), (*store)->put("coffer", as_bytes("x")).error(),
                           (*store)->list("").error()}) {
      EXPECT_EQ(e.code(), Code::kUntrusted) << e.what();
      EXPECT_NE(e.what().find("expired"), std::string::npos) << e.what();
      EXPECT_EQ(e.what().find("SECRETKEY"), std::string::npos);
    }
  }
}

TEST_F(Tls, a_bad_ca_file_is_said) {
  TlsServer server(pem("server"));
  std::string key = directory + "/ca.key";  // readable, but no certificate
  auto r = get(server.url(), key);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kInvalid) << r.error().what();
}

}  // namespace
}  // namespace coffer
