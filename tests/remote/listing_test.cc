// Answers that a store may send instead of a listing.
#include <gtest/gtest.h>

#include "remote/s3_listing.h"
#include "remote/webdav_listing.h"
#include "remote/xml.h"

namespace coffer {
namespace {

const std::string kPage =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
    "<Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
    "<Contents><Key>p%2Fa</Key><Size>12</Size><Owner><ID>Key</ID></Owner></Contents>"
    "<Contents><Size>0</Size><Key>p/b%20c</Key></Contents>"
    "<NextContinuationToken>tok&amp;en</NextContinuationToken></ListBucketResult>";

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(S3ListingTest, reads_a_page) {
  auto page = read_s3_listing(as_bytes(kPage));
  ASSERT_TRUE(page) << page.error().what();
  ASSERT_EQ(page->objects.size(), 2U);
  EXPECT_EQ(page->objects[0].key, "p/a");
  EXPECT_EQ(page->objects[0].size, 12U);
  EXPECT_EQ(page->objects[1].key, "p/b c");
  EXPECT_TRUE(page->truncated);
  EXPECT_EQ(page->continuation, "tok&en");
  // Without EncodingType keys are what they are.
  auto plain = read_s3_listing(as_bytes(replaced(kPage, "<EncodingType>url</EncodingType>", "")));
  EXPECT_EQ(plain->objects[0].key, "p%2Fa");
}

TEST(S3ListingTest, every_truncation_is_an_error) {
  for (size_t n = 0; n < kPage.size(); ++n) {
    auto page = read_s3_listing(as_bytes(std::string_view(kPage).substr(0, n)));
    ASSERT_FALSE(page) << n;
    EXPECT_EQ(page.error().code(), Code::kCorrupt);
  }
}

TEST(S3ListingTest, refuses_what_does_not_hold_together) {
  for (const std::string& text :
       {replaced(kPage, "<IsTruncated>true</IsTruncated>", ""), replaced(kPage, ">true<", ">maybe<"),
        replaced(kPage, "<NextContinuationToken>tok&amp;en</NextContinuationToken>", ""),
        replaced(kPage, ">12<", ">-1<"), replaced(kPage, ">12<", "><"),
        replaced(kPage, ">12<", ">99999999999999999999<"), replaced(kPage, "<Size>12</Size>", ""),
        replaced(kPage, "<Key>p%2Fa</Key>", ""), kPage + "<x/>", std::string("<html><body>Welcome</body></html>"),
        std::string("{}"), std::string("\0\0", 2), replaced(kPage, "?>", "?><!DOCTYPE x [<!ENTITY a \"aaaa\">]>"),
        replaced(kPage, "p%2Fa", "&undefined;")})
    EXPECT_FALSE(read_s3_listing(as_bytes(text))) << text;
}

TEST(S3ErrorTest, reads_code_and_message) {
  auto e =
      read_s3_error(as_bytes("<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please\nwait</Message>"
                             "<StringToSign>secret</StringToSign></Error>"));
  EXPECT_EQ(e.code, "SlowDown");
  EXPECT_EQ(e.message, "Please?wait");
  EXPECT_EQ(read_s3_error(as_bytes("<html><Error><Code>X</Code></Error></html>")).code, "");
  EXPECT_EQ(read_s3_error(as_bytes("gateway down")).code, "");
}

class Nothing : public XmlHandler {
  Result<void> start(std::string_view) override { return {}; }
  Result<void> end(std::string_view, std::string_view) override { return {}; }
};

TEST(Xml, is_bounded) {
  Nothing nothing;
  auto code = [&](const std::string& text) {
    auto r = read_xml(as_bytes(text), nothing);
    return r ? std::string("ok") : r.error().what();
  };
  EXPECT_EQ(code("<a>" + std::string(60'000, 'x') + "</a>"), "ok");
  EXPECT_NE(code("<a>" + std::string(70'000, 'x') + "</a>").find("too long"), std::string::npos);
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<a>";
  EXPECT_NE(code(deep).find("deep"), std::string::npos);
  EXPECT_NE(code("<!DOCTYPE a><a/>").find("document type"), std::string::npos);
  std::string laughs = "<!DOCTYPE l [<!ENTITY a \"ha\">";
  for (char c = 'b'; c < 'k'; ++c) {
    laughs += std::string("<!ENTITY ") + c + " \"";
    for (int i = 0; i < 10; ++i) laughs += std::string("&") + static_cast<char>(c - 1) + ";";
    laughs += "\">";
  }
  EXPECT_NE(code(laughs + "]><l>&j;</l>").find("document type"), std::string::npos);
  EXPECT_NE(code("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>").find("document type"), std::string::npos);
  EXPECT_NE(code(""), "ok");
  std::string many = "<a>";
  for (int i = 0; i < 200'000; ++i) many += "<b/>";
  EXPECT_EQ(code(many + "</a>"), "ok");  // several slices
}

std::string response(const std::string& href, const std::string& prop, const std::string& status = "200 OK") {
  return "<D:response><D:href>" + href + "</D:href><D:propstat><D:prop>" + prop + "</D:prop><D:status>HTTP/1.1 " +
         status + "</D:status></D:propstat></D:response>";
}
const std::string kHead = "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:multistatus xmlns:D=\"DAV:\">";
const std::string kTail = "</D:multistatus>";
const std::string kCollection = "<D:resourcetype><D:collection/></D:resourcetype>";
const std::string kFile =
    "<D:resourcetype/><D:getcontentlength>7</D:getcontentlength>"
    "<D:getlastmodified>Thu, 01 Jan 1970 00:01:00 GMT</D:getlastmodified>";

TEST(Multistatus, reads_entries) {
  auto r = read_multistatus(as_bytes(kHead + response("/dav/", kCollection) + response("/dav/a%20b", kFile) +
                                     response(" https://inner:81/dav/c/ \n", kCollection) + kTail));
  ASSERT_TRUE(r) << r.error().what();
  ASSERT_EQ(r->size(), 3U);
  EXPECT_EQ((*r)[0].path, "/dav");
  EXPECT_TRUE((*r)[0].collection);
  EXPECT_EQ((*r)[1].path, "/dav/a b");
  EXPECT_FALSE((*r)[1].collection);
  EXPECT_EQ((*r)[1].size, 7U);
  EXPECT_EQ((*r)[1].modified, 60);
  EXPECT_EQ((*r)[2].path, "/dav/c");
}

TEST(Multistatus, knows_namespaces) {
  auto r = read_multistatus(
      as_bytes("<multistatus xmlns=\"DAV:\" xmlns:x=\"urn:x\"><response><href>/d/f</href><propstat><prop>"
               "<x:resourcetype><x:collection/></x:resourcetype><x:getcontentlength>99</x:getcontentlength>"
               "<getcontentlength>3</getcontentlength></prop><status>HTTP/1.1 200 "
               "OK</status></propstat></response></multistatus>"));
  ASSERT_TRUE(r) << r.error().what();
  EXPECT_FALSE(r->front().collection);
  EXPECT_EQ(r->front().size, 3U);
  EXPECT_FALSE(read_multistatus(as_bytes("<D:multistatus xmlns:D=\"urn:other\"></D:multistatus>")));
  EXPECT_FALSE(read_multistatus(as_bytes("<multistatus/>")));
  EXPECT_FALSE(read_multistatus(as_bytes("<D:multistatus/>")));  // prefix not bound
}

TEST(Multistatus, properties_may_be_missing_but_nothing_may_fail) {
  std::string partly =
      "<D:response><D:href>/d</D:href><D:propstat><D:prop>" + kCollection +
      "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat><D:propstat><D:prop><D:getcontentlength/>"
      "</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>";
  EXPECT_TRUE(read_multistatus(as_bytes(kHead + partly + kTail)));
  for (const std::string& bad :
       {std::string("<D:response><D:href>/d/x</D:href><D:status>HTTP/1.1 403 Forbidden</D:status></D:response>"),
        std::string("<D:response><D:href>/d/x</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>"),
        std::string("<D:response><D:href>/d/x</D:href></D:response>"), response("/d/x", kFile, "500 Oops"),
        response("/d/x", kFile, "403 Forbidden"), response("/d/x", kFile, "404 Not Found"), response("/d/x", kFile, ""),
        std::string("<D:response><D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>")})
    EXPECT_FALSE(read_multistatus(as_bytes(kHead + response("/d", kCollection) + bad + kTail))) << bad;
}

TEST(Multistatus, every_truncation_is_an_error) {
  std::string text = kHead + response("/d", kCollection) + response("/d/f", kFile) + kTail;
  for (size_t n = 0; n < text.size(); ++n)
    ASSERT_FALSE(read_multistatus(as_bytes(std::string_view(text).substr(0, n)))) << n;
  EXPECT_TRUE(read_multistatus(as_bytes(text)));
}

TEST(Multistatus, odd_hrefs_do_not_get_through) {
  for (const char* href : {"", "relative", "/d/%zz", "/d/%00x", "ftp", "javascript:alert(1)"}) {
    auto r = read_multistatus(as_bytes(kHead + response(href, kFile) + kTail));
    ASSERT_TRUE(r) << href;
    EXPECT_TRUE(r->empty()) << href;
  }
  // These are paths, and it is for the caller to see that they are not below what it asked about.
  EXPECT_EQ(read_multistatus(as_bytes(kHead + response("/d/../../etc", kFile) + kTail))->front().path, "/d/../../etc");
  EXPECT_EQ(read_multistatus(as_bytes(kHead + response("/d/a%2Fb", kFile) + kTail))->front().path, "/d/a/b");
}

}  // namespace
}  // namespace coffer
