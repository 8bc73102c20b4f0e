// The published vectors: the examples of "Authenticating Requests: Using the Authorization Header" in the Amazon S3 API
// reference, and cases of the Signature Version 4 test suite.
#include "remote/sigv4.h"

#include <gtest/gtest.h>

#include "crypto/hash.h"

namespace coffer {
namespace {

const std::string kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string signature(const SigV4Key& key, const SigV4Request& request, const std::string& time) {
  std::string text = sigv4_authorization(key, request, time);
  return text.substr(text.rfind('=') + 1);
}

class S3Examples : public ::testing::Test {
 protected:
  const SigV4Key key{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "s3"};
  const std::string time = "20130524T000000Z";
  const std::pair<std::string, std::string> host{"Host", "examplebucket.s3.amazonaws.com"}, date{"x-amz-date", time};
};

TEST_F(S3Examples, get_object) {
  SigV4Request r{
      "GET", "/test.txt", {}, {host, {"Range", "bytes=0-9"}, {"x-amz-content-sha256", kEmpty}, date}, kEmpty};
  EXPECT_EQ(sigv4_canonical_request(r),
            "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\nx-amz-content-sha256:" + kEmpty +
                "\nx-amz-date:20130524T000000Z\n\nhost;range;x-amz-content-sha256;x-amz-date\n" + kEmpty);
  EXPECT_EQ(sigv4_string_to_sign(key, r, time),
            "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
            "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
  EXPECT_EQ(sigv4_authorization(key, r, time),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(S3Examples, put_object) {
  std::string hash = hex(sha256(as_bytes("Welcome to Amazon S3.")));
  EXPECT_EQ(hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
  SigV4Request r{"PUT",
                 "/test%24file.text",
                 {},
                 {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                  host,
                  date,
                  {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                  {"x-amz-content-sha256", hash}},
                 hash};
  EXPECT_EQ(signature(key, r, time), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_F(S3Examples, get_lifecycle_with_a_parameter_without_value) {
  SigV4Request r{"GET", "/", {{"lifecycle", ""}}, {host, {"x-amz-content-sha256", kEmpty}, date}, kEmpty};
  EXPECT_EQ(signature(key, r, time), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_F(S3Examples, list_objects) {
  SigV4Request r{
      "GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {host, {"x-amz-content-sha256", kEmpty}, date}, kEmpty};
  EXPECT_EQ(sigv4_query(r.query), "max-keys=2&prefix=J");
  EXPECT_EQ(signature(key, r, time), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

class TestSuite : public ::testing::Test {
 protected:
  const SigV4Key key{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service"};
  const std::string time = "20150830T123600Z";
  SigV4Request get() const {
    return {"GET", "/", {}, {{"Host", "example.amazonaws.com"}, {"X-Amz-Date", time}}, kEmpty};
  }
};

TEST_F(TestSuite, get_vanilla) {
  EXPECT_EQ(signature(key, get(), time), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

TEST_F(TestSuite, get_vanilla_query_order_key_case) {
  SigV4Request r = get();
  r.query = {{"Param2", "value2"}, {"Param1", "value1"}};
  EXPECT_EQ(signature(key, r, time), "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST_F(TestSuite, post_vanilla) {
  SigV4Request r = get();
  r.method = "POST";
  EXPECT_EQ(signature(key, r, time), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

TEST_F(TestSuite, get_header_value_trim) {
  SigV4Request r = get();
  r.headers.emplace_back("My-Header1", " value1");
  r.headers.emplace_back("My-Header2", " \"a   b   c\"");
  EXPECT_EQ(signature(key, r, time), "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

TEST(SigV4Time, is_in_utc) {
  EXPECT_EQ(sigv4_time({1'369'353'600'000'000'000}), "20130524T000000Z");
  EXPECT_EQ(sigv4_time({1'440'938'160'999'999'999}), "20150830T123600Z");
}

TEST(SigV4Query, encodes_all_but_unreserved_characters) {
  EXPECT_EQ(sigv4_query({{"prefix", "a b/c+d&e=~f"}, {"marker", ""}}), "marker=&prefix=a%20b%2Fc%2Bd%26e%3D~f");
  EXPECT_EQ(sigv4_query({}), "");
}

}  // namespace
}  // namespace coffer
