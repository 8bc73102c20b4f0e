#include "remote/open_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <thread>

namespace coffer {
namespace {

std::string refusal(StoreConfig config) {
  auto r = check_store_config(config);
  EXPECT_FALSE(r) << config.url;
  if (r) return "";
  EXPECT_TRUE(r.error().code() == Code::kInvalid || r.error().code() == Code::kUnsupported) << r.error().what();
  return r.error().what();
}

void expect_refused(const std::string& url, const std::string& hint) {
  std::string text = refusal({.url = url});
  EXPECT_NE(text.find(hint), std::string::npos) << url << ": " << text;
}

// No byte moves that the limits do not cover, however long it takes: counted, with a clock of our own.
TEST(OpenStore, keeps_to_the_limits_that_were_said) {
  constexpr uint64_t kUp = 400'000, kDown = 1'000'000;  // bytes per second; a quarter of a second's worth at once
  constexpr size_t kSize = 1'000'000;
  std::string directory = std::filesystem::temp_directory_path() / "coffer-limits-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  FakeClock clock;
  auto meter = std::make_shared<TransferMeter>(clock);
  auto store = open_store({.url = directory, .upload_limit = kUp, .download_limit = kDown}, meter);
  ASSERT_TRUE(store) << store.error().what();
  // The simulated seconds that `work` takes, while the bytes that have moved keep below the limit.
  auto seconds_for = [&](uint64_t rate, uint64_t StoreCounters::*moved, const std::function<void()>& work) {
    const Nanos begin = clock.monotonic();
    std::atomic<bool> done = false;
    std::jthread worker([&] {
      work();
      done = true;
    });
    auto elapsed = [&] { return std::chrono::duration<double>(clock.monotonic() - begin).count(); };
    while (!done) {
      uint64_t now = meter->counters().*moved;  // before the clock, which only goes on: never too strict
      EXPECT_LE(static_cast<double>(now), static_cast<double>(rate) * (0.25 + elapsed()) + 1);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      if (!done) clock.advance(std::chrono::milliseconds(50));
    }
    return elapsed();
  };
  double up = seconds_for(kUp, &StoreCounters::bytes_up, [&] { EXPECT_TRUE((*store)->put("obj/00/x", Bytes(kSize))); });
  EXPECT_GE(up, 2.25 - 1e-6);
  EXPECT_EQ(meter->counters().bytes_up, kSize);
  double down = seconds_for(kDown, &StoreCounters::bytes_down, [&] { EXPECT_TRUE((*store)->get("obj/00/x", kSize)); });
  EXPECT_GE(down, 0.75 - 1e-6);
  EXPECT_EQ(meter->counters().bytes_down, kSize);
  std::filesystem::remove_all(directory);
}

TEST(OpenStore, describes_what_was_meant) {
  auto describe = [](StoreConfig config) {
    auto r = open_store(config);
    EXPECT_TRUE(r) << r.error().what();
    return r ? (*r)->describe() : "";
  };
  EXPECT_EQ(describe({.url = "/srv/vol/"}), "directory /srv/vol");
  EXPECT_EQ(describe({.url = "file:///srv/a%20b"}), "directory /srv/a b");
  EXPECT_EQ(describe({.url = "./vol"}), "directory " + std::filesystem::current_path().string() + "/vol");
  EXPECT_EQ(describe({.url = "s3://bucket/a/b/", .region = "eu-west-1"}),
            "s3://bucket/a/b at https://s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(describe({.url = "s3://bucket", .endpoint = "https://s3.example.org:9000/"}),
            "s3://bucket at https://s3.example.org:9000");
  EXPECT_EQ(describe({.url = "webdavs://Example.org:8443/dav/my%20drive/"}), "webdavs://example.org:8443/dav/my drive");
  EXPECT_EQ(describe({.url = "webdav://127.0.0.1:80/x", .allow_plaintext_loopback = true}), "webdav://127.0.0.1:80/x");
  EXPECT_EQ(describe({.url = "s3://bucket", .endpoint = "http://[::1]:9000", .allow_plaintext_loopback = true}),
            "s3://bucket at http://[::1]:9000");
}

TEST(OpenStore, touches_nothing) {
  std::string pattern = (std::filesystem::temp_directory_path() / "coffer-open-XXXXXX").string();
  std::string root = ::mkdtemp(pattern.data());
  ASSERT_TRUE(open_store({.url = root + "/new"}));
  EXPECT_FALSE(std::filesystem::exists(root + "/new"));
  ASSERT_TRUE(open_store({.url = root + "/new", .create = true}));
  EXPECT_TRUE(std::filesystem::exists(root + "/new"));
  std::filesystem::remove_all(root);
}

TEST(OpenStore, refuses_credentials_in_urls_without_repeating_them) {
  for (const char* url :
       {"webdavs://me:hunter2@host/dav", "s3://AKIA:hunter2@bucket/x", "webdavs://hunter2@host/dav"}) {
    expect_refused(url, "netrc");
    EXPECT_EQ(refusal({.url = url}).find("hunter2"), std::string::npos);
  }
  std::string text = refusal({.url = "s3://bucket", .endpoint = "https://me:hunter2@host"});
  EXPECT_NE(text.find("~/.aws/credentials"), std::string::npos) << text;
  EXPECT_EQ(text.find("hunter2"), std::string::npos);
}

TEST(OpenStore, refuses_plaintext) {
  expect_refused("webdav://example.org/dav", "refused");
  expect_refused("webdav://127.0.0.1/dav", "asked for");
  StoreConfig config{.url = "webdav://localhost/dav", .allow_plaintext_loopback = true};
  EXPECT_NE(refusal(config).find("127.0.0.1"), std::string::npos);
  config.url = "webdav://127.0.0.1.example.org/dav";
  EXPECT_NE(refusal(config).find("TLS"), std::string::npos);
  config.url = "s3://bucket";
  config.endpoint = "http://example.org";
  EXPECT_NE(refusal(config).find("TLS"), std::string::npos);
  EXPECT_FALSE(refusal({.url = "s3://bucket", .endpoint = "http://127.0.0.1:9000"}).empty());
}

TEST(OpenStore, says_what_to_write_instead) {
  expect_refused("", "webdavs://HOST/PATH");
  expect_refused("vol", "./vol");
  expect_refused("https://host/dav", "webdavs://");
  expect_refused("ftp://host/dav", "ftp");
  expect_refused("file://host/dav", "file:///");
  expect_refused("s3://", "BUCKET");
  expect_refused("s3://b", "bucket");
  expect_refused("s3://bucket/a//b", "prefix");
  expect_refused("s3://bucket/../b", "prefix");
  expect_refused("webdavs://", "host");
  expect_refused("webdavs://host/a/../b", "'..'");
  expect_refused("webdavs://host/a?b", "%3F");
  expect_refused("webdavs://host/a%2", "hex");
  EXPECT_NE(refusal({.url = "s3://bucket", .endpoint = "https://host/path"}).find("without a path"), std::string::npos);
  EXPECT_NE(refusal({.url = "s3://bucket", .region = "eu west\n"}).find("region"), std::string::npos);
}

TEST(OpenStore, a_missing_ca_file_is_said_at_once) {
  auto r = open_store({.url = "webdavs://host/x", .ca_file = "/does/not/exist.pem"});
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what().find("/does/not/exist.pem"), std::string::npos);
}

// A program that is confined can do no more than this says.
TEST(OpenStore, says_what_it_goes_on_needing_of_this_machine) {
  const std::string home = std::filesystem::temp_directory_path() / ("coffer-needs-" + std::to_string(::getpid()));
  std::filesystem::create_directories(home + "/.aws");
  ::setenv("HOME", home.c_str(), 1);
  ::unsetenv("NETRC");
  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_PROFILE"})
    ::unsetenv(name);
  using Paths = std::vector<std::string>;

  EXPECT_EQ(store_needs({.url = home + "/.aws"})->write, Paths{home + "/.aws"});
  // What is not there may come by a mount on what is.
  EXPECT_EQ(store_needs({.url = home + "/a/b"})->write,
            (Paths{home + "/a/b", std::filesystem::temp_directory_path().string()}));
  // Its disk may come back as another directory of the same name.
  EXPECT_EQ(store_needs({.url = "/media/me/disk/store"})->write, (Paths{"/media/me/disk/store", "/media"}));
  EXPECT_EQ(store_needs({.url = "webdavs://host/path", .ca_file = "/etc/my.pem"})->read,
            (Paths{"/etc/my.pem", home + "/.netrc"}));
  const StoreConfig bucket{.url = "s3://bucket"};
  EXPECT_EQ(store_needs(bucket)->read, Paths{home + "/.aws"});
  EXPECT_FALSE(store_needs(bucket)->programs);
  std::ofstream(home + "/.aws/config") << "[default]\ncredential_process = /bin/tell-me\n";
  EXPECT_TRUE(store_needs(bucket)->programs);
  // Keys that stand in the files, or in the environment, come first.
  std::ofstream(home + "/.aws/credentials") << "[default]\naws_access_key_id = a\naws_secret_access_key = b\n";
  EXPECT_FALSE(store_needs(bucket)->programs);
  std::filesystem::remove(home + "/.aws/credentials");
  ::setenv("AWS_ACCESS_KEY_ID", "a", 1);
  EXPECT_FALSE(store_needs(bucket)->programs);
  ::unsetenv("AWS_ACCESS_KEY_ID");
  std::filesystem::remove_all(home);
}

}  // namespace
}  // namespace coffer
