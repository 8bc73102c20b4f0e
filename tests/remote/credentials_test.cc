#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "remote/aws_credentials.h"
#include "remote/helper_process.h"
#include "remote/json_object.h"
#include "remote/netrc.h"

namespace coffer {
namespace {

class Credentials : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "coffer-cred-XXXXXX").string();
    home = ::mkdtemp(pattern.data());
    std::filesystem::create_directory(home + "/.aws");
    variables["HOME"] = home;
  }
  void TearDown() override { std::filesystem::remove_all(home); }

  AwsCredentialSource source() {
    AwsEnvironment environment;
    environment.variable = [this](const char* name) -> std::optional<std::string> {
      auto it = variables.find(name);
      if (it == variables.end()) return std::nullopt;
      return it->second;
    };
    environment.clock = &clock;
    return AwsCredentialSource(environment);
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(home + "/" + name) << text; }

  std::string home;
  std::map<std::string, std::string> variables;
  FakeClock clock;
};

TEST_F(Credentials, come_from_the_environment_first) {
  write(".aws/credentials", "[default]\naws_access_key_id = FILE\naws_secret_access_key = FILESECRET\n");
  variables["AWS_ACCESS_KEY_ID"] = "AK";
  variables["AWS_SECRET_ACCESS_KEY"] = "SK";
  EXPECT_EQ(*source().get({}), (AwsCredentials{"AK", "SK", "", std::nullopt}));
  variables["AWS_SESSION_TOKEN"] = "TOKEN";
  EXPECT_EQ(source().get({})->session_token, "TOKEN");
}

TEST_F(Credentials, half_of_a_pair_is_an_error) {
  variables["AWS_ACCESS_KEY_ID"] = "AKVALUE";
  auto r = source().get({});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kDenied);
  EXPECT_NE(r.error().what().find("AWS_SECRET_ACCESS_KEY"), std::string::npos);
  EXPECT_EQ(r.error().what().find("AKVALUE"), std::string::npos);
}

TEST_F(Credentials, come_from_shared_files_by_profile) {
  write(".aws/credentials",
        "# comment\n[default]\naws_access_key_id=A1\naws_secret_access_key = S1 \n\n"
        "[work]\nAWS_ACCESS_KEY_ID = A2\r\naws_secret_access_key = S2=/+\r\naws_session_token = T2\r\n");
  write(".aws/config",
        "[default]\nregion = eu-west-1\n[profile work]\nregion = ap-south-1\ns3 =\n  region = no\n"
        "[profile keys]\naws_access_key_id = A3\naws_secret_access_key = S3\n");
  EXPECT_EQ(source().get({})->access_key, "A1");
  EXPECT_EQ(source().get({})->secret_key, "S1");
  EXPECT_EQ(source().region(), "eu-west-1");
  variables["AWS_PROFILE"] = "work";
  EXPECT_EQ(*source().get({}), (AwsCredentials{"A2", "S2=/+", "T2", std::nullopt}));
  EXPECT_EQ(source().region(), "ap-south-1");
  variables["AWS_PROFILE"] = "keys";
  EXPECT_EQ(source().get({})->access_key, "A3");
  variables["AWS_REGION"] = "here";
  EXPECT_EQ(source().region(), "here");
}

TEST_F(Credentials, files_can_be_elsewhere) {
  write("mine", "[default]\naws_access_key_id = A\naws_secret_access_key = S\n");
  variables["AWS_SHARED_CREDENTIALS_FILE"] = home + "/mine";
  EXPECT_EQ(source().get({})->access_key, "A");
  variables["AWS_SHARED_CREDENTIALS_FILE"] = home + "/absent";
  auto r = source().get({});
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().what().find("/absent"), std::string::npos);
}

TEST_F(Credentials, none_says_where_to_put_them) {
  auto r = source().get({});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kDenied);
  EXPECT_NE(r.error().what().find("AWS_ACCESS_KEY_ID"), std::string::npos);
  EXPECT_NE(r.error().what().find("~/.aws/credentials"), std::string::npos);
  write(".aws/config", "[default]\nrole_arn = arn:aws:iam::1:role/x\n");
  r = source().get({});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kUnsupported);
  EXPECT_NE(r.error().what().find("credential_process"), std::string::npos);
}

TEST_F(Credentials, a_process_is_run_again_before_they_expire) {
  write("print.sh",
        "n=$(cat \"$1/count\" 2>/dev/null || echo 0); n=$((n + 1)); echo $n >\"$1/count\"\n"
        "printf '{\"Version\": 1, \"AccessKeyId\": \"A%s\", \"SecretAccessKey\": \"S\\\\/\\\\u0041\", "
        "\"SessionToken\": \"T\",'\\\n"
        "' \"Extra\": {\"x\": [1, true, null]}, \"Expiration\": \"%s\"}' $n \"$(cat \"$1/expires\")\"\n");
  write(".aws/config", "[default]\ncredential_process = /bin/sh \"" + home + "/print.sh\" '" + home + "'\n");
  clock.set_wall(*parse_iso8601("2030-01-01T00:00:00Z"));
  write("expires", "2030-01-01T01:00:00Z");
  auto s = source();
  auto first = s.get({});
  ASSERT_TRUE(first) << first.error().what();
  EXPECT_EQ(first->access_key, "A1");
  EXPECT_EQ(first->secret_key, "S/A");
  EXPECT_EQ(first->session_token, "T");
  EXPECT_EQ(s.get({})->access_key, "A1");
  clock.advance(std::chrono::minutes(56));
  EXPECT_EQ(s.get({})->access_key, "A2");
  // It fails now; what we have serves until its end and not longer.
  write("print.sh", "exit 3\n");
  EXPECT_EQ(s.get({})->access_key, "A2");
  clock.advance(std::chrono::minutes(5));
  auto failed = s.get({});
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().what().find("status 3"), std::string::npos) << failed.error().what();
}

TEST_F(Credentials, what_a_process_prints_is_not_trusted) {
  write(".aws/config", "[default]\ncredential_process = /bin/cat " + home + "/out\n");
  clock.set_wall(*parse_iso8601("2030-01-01T00:00:00Z"));
  for (const char* text :
       {"", "SECRETTEXT", "{\"Version\": 2}", "{\"Version\": 1, \"AccessKeyId\": \"A\"}",
        "{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"SECRETTEXT\"",
        "{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"SECRETTEXT\", \"Expiration\": \"soon\"}",
        "{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"SECRETTEXT\", \"Expiration\": "
        "\"2029-12-31T23:00:00Z\"}"}) {
    write("out", text);
    auto r = source().get({});
    ASSERT_FALSE(r) << text;
    EXPECT_EQ(r.error().what().find("SECRETTEXT"), std::string::npos) << r.error().what();
  }
}

TEST_F(Credentials, forgetting_looks_again) {
  write(".aws/credentials", "[default]\naws_access_key_id = A1\naws_secret_access_key = S\n");
  auto s = source();
  auto first = *s.get({});
  write(".aws/credentials", "[default]\naws_access_key_id = A2\naws_secret_access_key = S\n");
  EXPECT_EQ(s.get({})->access_key, "A1");
  s.forget(first);
  auto second = *s.get({});
  EXPECT_EQ(second.access_key, "A2");
  s.forget(first);  // somebody else's news of the old ones does not throw the new ones away
  write(".aws/credentials", "");
  EXPECT_EQ(s.get({})->access_key, "A2");
}

TEST(Iso8601, is_read) {
  EXPECT_EQ(parse_iso8601("1970-01-01T00:00:01Z"), (WallTime{1'000'000'000}));
  EXPECT_EQ(parse_iso8601("1970-01-01T01:00:01.123456+01:00"), (WallTime{1'000'000'000}));
  // Never, as some credential helpers write it: far off, not long past.
  EXPECT_GT(parse_iso8601("9999-12-31T23:59:59Z"), parse_iso8601("2262-01-01T00:00:00Z"));
  EXPECT_EQ(parse_iso8601("1970-01-01T00:00:01+0000"), (WallTime{1'000'000'000}));
  for (const char* text : {"", "now", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00",
                           "1970-01-01T25:00:00Z", "1970-01-01T00:00:00+1"})
    EXPECT_EQ(parse_iso8601(text), std::nullopt) << text;
}

TEST(Json, objects_are_read_strictly) {
  auto r = read_json_object(
      " {\"a\" : \"x\\n\\u20ac\\ud83d\\ude00\", \"b\": 12, \"c\": [{}, [\"]\"]], \"d\": {\"e\": null}} ");
  ASSERT_TRUE(r);
  EXPECT_EQ((*r)["a"], "x\n\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ((*r)["b"], "12");
  EXPECT_EQ(r->size(), 2U);
  EXPECT_TRUE(read_json_object("{}"));
  for (const char* text :
       {"", "[]", "{", "{}}", "{\"a\"}", "{\"a\":}", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}", "{\"a\":1,}", "{,}", "{\"a\":[}", "{\"a\" \"b\"}"})
    EXPECT_FALSE(read_json_object(text)) << text;
  std::string deep = "{\"a\":" + std::string(100'000, '[');
  EXPECT_FALSE(read_json_object(deep));
}

TEST(SplitCommand, splits_like_a_shell) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(*split_command("a b  c"), (Words{"a", "b", "c"}));
  EXPECT_EQ(*split_command("'a b' \"c \\\" d\" e\\ f ''"), (Words{"a b", "c \" d", "e f", ""}));
  EXPECT_EQ(*split_command("a\"b\"'c'"), (Words{"abc"}));
  for (const char* text : {"", "  ", "'a", "\"a"}) EXPECT_FALSE(split_command(text)) << text;
}

TEST(RunHelper, bounds_what_it_runs) {
  using std::chrono::seconds;
  EXPECT_EQ(*run_helper({"/bin/echo", "hi there"}, 100, seconds(10), {}), "hi there\n");
  EXPECT_EQ(run_helper({"/does/not/exist"}, 100, seconds(10), {}).error().code(), Code::kUnavailable);
  EXPECT_EQ(run_helper({"/bin/sh", "-c", "exit 7"}, 100, seconds(10), {}).error().code(), Code::kUnavailable);
  EXPECT_EQ(run_helper({"/usr/bin/yes"}, 1000, seconds(10), {}).error().code(), Code::kTooLarge);
  EXPECT_EQ(run_helper({"/bin/sleep", "100"}, 100, std::chrono::milliseconds(100), {}).error().code(), Code::kTimedOut);
  EXPECT_EQ(
      run_helper({"/bin/sh", "-c", "exec >&-; exec sleep 100"}, 100, std::chrono::milliseconds(200), {}).error().code(),
      Code::kTimedOut);
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(run_helper({"/bin/sleep", "100"}, 100, seconds(100), source.get_token()).error().code(), Code::kCancelled);
}

TEST(Netrc, finds_the_entry) {
  const char* text =
      "# machine commented login no password no\n"
      "machine other.org\n\tlogin a\n\tpassword b\n"
      "macdef init\nmachine dav.example.org login macro password macro\n\n"
      "machine DAV.example.org login \"me \\\"x\\\"\" account z password p#w:\\d\n"
      "machine dav.example.org login second password second\n"
      "default login d password e\n"
      "machine late login x password y\n";
  EXPECT_EQ(find_in_netrc(text, "dav.example.org"), (NetrcEntry{"me \"x\"", "p#w:\\d"}));
  EXPECT_EQ(find_in_netrc(text, "other.org"), (NetrcEntry{"a", "b"}));
  EXPECT_EQ(find_in_netrc(text, "unknown"), (NetrcEntry{"d", "e"}));
  EXPECT_EQ(find_in_netrc(text, "late"), (NetrcEntry{"d", "e"}));  // default ends the search
  EXPECT_EQ(find_in_netrc("machine a login b", "c"), std::nullopt);
  EXPECT_EQ(find_in_netrc("", "c"), std::nullopt);
  for (const char* odd : {"machine", "machine c login", "machine c password \"", "macdef x", "#"})
    (void)find_in_netrc(odd, "c");
}

TEST(Netrc, a_missing_file_is_no_entry) {
  auto r = read_netrc("/does/not/exist/netrc", "h");
  ASSERT_TRUE(r);
  EXPECT_FALSE(*r);
}

}  // namespace
}  // namespace coffer
