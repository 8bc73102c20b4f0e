#include "remote/url.h"

#include <gtest/gtest.h>

namespace coffer {
namespace {

TEST(ParseUrl, takes_apart) {
  auto url = parse_url("WebDAVs://Files.Example.org:8443/dav/a%20b/%C3%A9");
  ASSERT_TRUE(url) << url.error().what();
  EXPECT_EQ(url->scheme, "webdavs");
  EXPECT_EQ(url->host, "files.example.org");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->path, "dav/a b/\xc3\xa9");
  EXPECT_EQ(url->authority(), "files.example.org:8443");
  EXPECT_FALSE(url->has_user);
  EXPECT_EQ(parse_url("https://[::1]:1/")->authority(), "[::1]:1");
  EXPECT_EQ(parse_url("https://h")->path, "");
  EXPECT_TRUE(parse_url("https://h/p?a=b")->has_query);
  EXPECT_TRUE(parse_url("https://h?a")->has_query);
}

TEST(ParseUrl, keeps_no_credentials_and_quotes_none) {
  auto url = parse_url("https://me:hunter2@host/p");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->has_user);
  EXPECT_EQ(url->host, "host");
  auto bad = parse_url("https://me:hunter2@host:99999/p");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().what().find("hunter2"), std::string::npos);
}

TEST(ParseUrl, refuses_nonsense) {
  for (const char* text : {"", "host", "://h", "https://h:0", "https://h:70000", "https://h:x", "https://[::1",
                           "https://[x]/", "https://[::1]x/", "https://h/%", "https://h/%zz", "https://h/%00",
                           "https://h o/", "https://h/#f", "https://h\n/", "https://a~b/"})
    EXPECT_FALSE(parse_url(text)) << text;
}

TEST(Loopback, is_a_literal) {
  for (const char* host : {"127.0.0.1", "127.1.2.3", "::1"}) EXPECT_TRUE(is_loopback_literal(host)) << host;
  for (const char* host :
       {"localhost", "127.0.0.1.example.org", "10.0.0.1", "128.0.0.1", "::", "::2", "", "0.0.0.0", "127.1"})
    EXPECT_FALSE(is_loopback_literal(host)) << host;
}

TEST(Percent, encodes_and_decodes_every_byte) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  for (bool slashes : {false, true}) EXPECT_EQ(percent_decode(percent_encode(all, slashes)), all);
  EXPECT_EQ(percent_encode("a/b c~", true), "a/b%20c~");
  EXPECT_EQ(percent_encode("a/b", false), "a%2Fb");
  EXPECT_FALSE(percent_decode("a%2"));
  EXPECT_FALSE(percent_decode("%g0"));
}

TEST(Printable, is_ascii_and_bounded) {
  EXPECT_EQ(printable("a\nb\x1b[31m"), "a?b?[31m");
  EXPECT_EQ(printable(std::string(500, 'x'), 10), "xxxxxxxxxx...");
}

}  // namespace
}  // namespace coffer
