#include "fs/cli/target.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/cli/temporary.h"

namespace coffer::cli {
namespace {

std::string canonical(const std::string& url, const std::string& endpoint = "") {
  StoreConfig config;
  config.url = url;
  config.endpoint = endpoint;
  auto text = canonical_store(config);
  return text ? *text : "error: " + text.error().what;
}

TEST(Target, EqualStoresHaveEqualNames) {
  EXPECT_EQ(canonical("s3://bucket/p/", "https://Host:443"), canonical("s3://bucket/p", "https://host"));
  EXPECT_NE(canonical("s3://bucket/p", "https://host"), canonical("s3://bucket/p", "https://other"));
  EXPECT_NE(canonical("s3://bucket/p"), canonical("s3://bucket/q"));
  EXPECT_EQ(canonical("webdavs://Host:443/a/"), canonical("webdavs://host/a"));
  EXPECT_EQ(canonical("/tmp/x/"), canonical("file:///tmp/x"));
  EXPECT_EQ(canonical("/tmp/a/../x"), canonical("/tmp/x"));
}

TEST(Target, ASymbolicLinkIsTheSameStore) {
  TemporaryDirectory dir;
  std::filesystem::create_directory(dir.path() + "/real");
  std::filesystem::create_symlink(dir.path() + "/real", dir.path() + "/link");
  EXPECT_EQ(canonical(dir.path() + "/link"), canonical(dir.path() + "/real"));
}

TEST(Target, TheCommandLineBeatsEnvironmentAndConfig) {
  TemporaryDirectory dir;
  std::string config = dir.write("config.toml",
                                 "[volume.v]\nstore = \"/config-store\"\nstate_dir = \"/config-state\"\n"
                                 "device_name = \"from-config\"\nmount_options = \"ro\"\n");
  std::filesystem::permissions(config, std::filesystem::perms(0600));
  ::setenv("COFFER_CONFIG", config.c_str(), 1);
  ::setenv("COFFER_STATE_DIR", "/env-state", 1);
  Arguments arguments;
  arguments.operands = {"v"};
  arguments.settings.mount_options = "allow_other";
  auto from_environment = resolve_target(arguments);
  arguments.settings.state_dir = "/said";
  auto said = resolve_target(arguments);
  ::unsetenv("COFFER_CONFIG");
  ::unsetenv("COFFER_STATE_DIR");
  ASSERT_TRUE(from_environment) << from_environment.error().what;
  EXPECT_EQ(from_environment->store.url, "/config-store");
  EXPECT_EQ(from_environment->state_root, "/env-state");
  EXPECT_EQ(from_environment->settings.device_name, "from-config");
  EXPECT_EQ(from_environment->settings.mount_options, "ro,allow_other");
  ASSERT_TRUE(said);
  EXPECT_EQ(said->state_root, "/said");
}

TEST(Target, RelativePathsBecomeAbsolute) {
  Arguments arguments;
  arguments.operands = {"./store"};
  arguments.settings.ca_file = "ca.pem";
  auto target = resolve_target(arguments);
  ASSERT_TRUE(target) << target.error().what;
  EXPECT_EQ(target->store.url, std::filesystem::current_path().string() + "/store");
  EXPECT_EQ(target->store.ca_file, std::filesystem::current_path().string() + "/ca.pem");
}

}  // namespace
}  // namespace coffer::cli
