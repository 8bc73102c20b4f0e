#include "fs/cli/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/cli/temporary.h"

namespace coffer::cli {
namespace {

TEST(Config, AVolumeHasItsSettings) {
  auto s = settings_from_toml(R"(
[volume.photos]
store = "s3://bucket/photos"
endpoint = "https://s3.example.org"
path_style = true
upload_limit = "1M"
download_limit = 4096
directory = "~/photos"
mount_options = "allow_other,fsync=remote"
[volume.other]
store = "/x"
)",
                              "config.toml", "photos");
  ASSERT_TRUE(s) << s.error().what;
  EXPECT_EQ(s->store, "s3://bucket/photos");
  EXPECT_EQ(s->endpoint, "https://s3.example.org");
  EXPECT_EQ(s->path_style, true);
  EXPECT_EQ(s->upload_limit, 1u << 20);
  EXPECT_EQ(s->download_limit, 4096u);
  EXPECT_EQ(s->directory, home_directory() + "/photos");
  EXPECT_EQ(s->mount_options, "allow_other,fsync=remote");
}

TEST(Config, ErrorsNameThePlace) {
  struct Case {
    const char *text, *part;
  };
  const Case cases[] = {
      {"[volume.a]\nstore = \"/x\"\nsecret = \"y\"", "volume.a.secret"},
      {"[volume.a]\nstore = 5.5", "volume.a.store"},
      {"[volume.a]\nregion = \"x\"", "no store"},
      {"[volume.b]\nstore = \"/x\"", "no volume named 'a'"},
      {"volume = 3", "no volume named 'a'"},
      {"[volume.a]\nstore = ", "config.toml:2"},
      {"[volume.a]\nstore = \"/x\"\nupload_limit = \"much\"", "upload_limit"},
      {"[volume.a]\nstore = \"/x\"\nupload_limit = -5", "upload_limit"},
  };
  for (const Case& c : cases) {
    auto s = settings_from_toml(c.text, "config.toml", "a");
    ASSERT_FALSE(s) << c.text;
    EXPECT_EQ(s.error().exit, Exit::kUsage);
    EXPECT_NE(s.error().what.find(c.part), std::string::npos) << s.error().what;
  }
}

TEST(Config, OneThatOthersMayWriteIsRefused) {
  TemporaryDirectory dir;
  std::string path = dir.write("config.toml", "[volume.a]\nstore = \"/x\"\n");
  ::chmod(path.c_str(), 0644);
  EXPECT_TRUE(settings_from_config(path, "a"));
  ::chmod(path.c_str(), 0666);
  auto refused = settings_from_config(path, "a");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().exit, Exit::kPermission);
}

TEST(Config, NoFileIsSaidKindly) {
  auto s = settings_from_config("/does/not/exist.toml", "photos");
  ASSERT_FALSE(s);
  EXPECT_NE(s.error().what.find("photos"), std::string::npos);
  EXPECT_NE(s.error().todo.find("./photos"), std::string::npos);
}

}  // namespace
}  // namespace coffer::cli
