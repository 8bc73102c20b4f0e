#include "remote/s3_listing.h"

#include <charconv>
#include <optional>

#include "remote/url.h"
#include "remote/xml.h"

namespace coffer {
namespace {

// S3 and its relatives differ in the namespace; the local names are the same.
std::string_view local_name(std::string_view name) { return name.substr(name.rfind('|') + 1); }

class ListingHandler : public XmlHandler {
 public:
  Result<void> start(std::string_view name) override {
    path_ += "/" + std::string(local_name(name));
    if (path_ == "/ListBucketResult") is_listing_ = true;
    if (path_ == "/ListBucketResult/Contents") object_ = {};
    return {};
  }

  Result<void> end(std::string_view name, std::string_view text) override {
    std::string_view inside = path_;
    if (inside == "/ListBucketResult/Contents/Key") object_.key = text;
    if (inside == "/ListBucketResult/Contents/Size") {
      uint64_t size = 0;
      auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), size);
      if (error != std::errc() || rest != text.data() + text.size())
        return fail(Code::kCorrupt, "a listing with a size that is no number");
      object_.size = size;
    }
    if (inside == "/ListBucketResult/Contents") {
      if (!object_.key || !object_.size) return fail(Code::kCorrupt, "a listing with an object without key or size");
      listing.objects.push_back({*std::move(object_.key), *object_.size});
    }
    if (inside == "/ListBucketResult/IsTruncated") truncated_ = text == "true" ? 1 : text == "false" ? 0 : -1;
    if (inside == "/ListBucketResult/NextContinuationToken") listing.continuation = text;
    if (inside == "/ListBucketResult/EncodingType") url_encoded_ = text == "url";
    path_.resize(path_.size() - local_name(name).size() - 1);
    return {};
  }

  Result<void> finish() {
    if (!is_listing_) return fail(Code::kCorrupt, "the answer is not a bucket listing");
    if (truncated_ < 0) return fail(Code::kCorrupt, "a listing that does not say whether it is complete");
    listing.truncated = truncated_ == 1;
    if (listing.truncated && listing.continuation.empty())
      return fail(Code::kCorrupt, "a listing that is not complete and does not say where to go on");
    if (!url_encoded_) return {};
    for (ObjectInfo& object : listing.objects)
      if (auto key = percent_decode(object.key)) object.key = *std::move(key);  // else foreign: no key has a '%'
    return {};
  }

  S3Listing listing;

 private:
  struct Object {
    std::optional<std::string> key;
    std::optional<uint64_t> size;
  };
  std::string path_;
  Object object_;
  bool is_listing_ = false, url_encoded_ = false;
  int truncated_ = -1;
};

class ErrorHandler : public XmlHandler {
 public:
  Result<void> start(std::string_view name) override {
    ++level_;
    if (level_ == 1) is_error_ = local_name(name) == "Error";
    return {};
  }
  Result<void> end(std::string_view name, std::string_view text) override {
    if (level_ == 2 && is_error_ && local_name(name) == "Code") error.code = printable(text, 64);
    if (level_ == 2 && is_error_ && local_name(name) == "Message") error.message = printable(text);
    --level_;
    return {};
  }

  S3Error error;

 private:
  int level_ = 0;
  bool is_error_ = false;
};

}  // namespace

Result<S3Listing> read_s3_listing(BytesView document) {
  ListingHandler handler;
  TRYV(read_xml(document, handler));
  TRYV(handler.finish());
  return std::move(handler.listing);
}

S3Error read_s3_error(BytesView document) {
  ErrorHandler handler;
  if (!read_xml(document, handler)) return {};
  return std::move(handler.error);
}

}  // namespace coffer
