#include "remote/webdav_listing.h"

#include <curl/curl.h>

#include <charconv>

#include "remote/url.h"
#include "remote/xml.h"

namespace coffer {
namespace {

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// The code of "HTTP/1.1 200 OK"; 0 when it is not of that form.
int status_code(std::string_view line) {
  line = trim(line);
  size_t space = line.find(' ');
  if (!line.starts_with("HTTP/") || space == std::string_view::npos) return 0;
  line = trim(line.substr(space));
  int code = 0;
  std::from_chars(line.data(), line.data() + line.size(), code);
  return code;
}

bool success(int code) { return code >= 200 && code < 300; }

// An href is a path or a whole URL; whose host it names does not matter, since only what lies below the collection that
// was asked about is used.
std::optional<std::string> href_path(std::string_view href) {
  href = trim(href);
  if (!href.starts_with('/')) {
    size_t host = href.find("://");
    if (host == std::string_view::npos) return std::nullopt;
    size_t slash = href.find('/', host + 3);
    href = slash == std::string_view::npos ? std::string_view("/") : href.substr(slash);
  }
  auto path = percent_decode(href);
  if (!path || path->find('\0') != std::string::npos) return std::nullopt;
  while (path->size() > 1 && path->ends_with('/')) path->pop_back();
  return *std::move(path);
}

class MultistatusHandler : public XmlHandler {
 public:
  Result<void> start(std::string_view name) override {
    names_.emplace_back(name);
    if (at({"multistatus"})) is_multistatus_ = true;
    if (at({"multistatus", "response"})) response_ = {};
    if (at({"multistatus", "response", "propstat"})) properties_ = {};
    if (at({"multistatus", "response", "propstat", "prop", "resourcetype", "collection"}))
      properties_.collection = true;
    return {};
  }

  Result<void> end(std::string_view, std::string_view text) override {
    TRYV(finish_element(text));
    names_.pop_back();
    return {};
  }

  Result<void> finish() const {
    if (!is_multistatus_) return fail(Code::kCorrupt, "the answer is not a WebDAV listing");
    return {};
  }

  std::vector<DavEntry> entries;

 private:
  struct Properties {
    bool collection = false;
    std::optional<uint64_t> size;
    std::optional<std::time_t> modified;
    int status = 0;
  };
  struct Response {
    std::optional<std::string> href;
    std::optional<int> status;
    std::optional<Properties> found;
  };

  bool at(std::initializer_list<std::string_view> path) const {
    if (path.size() != names_.size()) return false;
    auto name = names_.begin();
    for (std::string_view local : path) {
      if (!name->starts_with("DAV:|") || name->substr(5) != local) return false;
      ++name;
    }
    return true;
  }

  Result<void> finish_element(std::string_view text) {
    if (at({"multistatus", "response", "href"})) response_.href = text;
    if (at({"multistatus", "response", "status"})) response_.status = status_code(text);
    if (at({"multistatus", "response", "propstat", "status"})) properties_.status = status_code(text);
    if (at({"multistatus", "response", "propstat", "prop", "getcontentlength"})) {
      text = trim(text);
      uint64_t size = 0;
      auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), size);
      if (error == std::errc() && rest == text.data() + text.size()) properties_.size = size;
    }
    if (at({"multistatus", "response", "propstat", "prop", "getlastmodified"})) {
      time_t time = curl_getdate(std::string(text).c_str(), nullptr);
      if (time > 0) properties_.modified = time;
    }
    if (at({"multistatus", "response", "propstat"})) {
      if (success(properties_.status)) {
        response_.found = properties_;
      } else if (properties_.status != 404) {
        return fail(Code::kCorrupt,
                    "a listing in which something failed with status " + std::to_string(properties_.status));
      }
    }
    if (at({"multistatus", "response"})) return finish_response();
    return {};
  }

  Result<void> finish_response() {
    if (response_.status && !success(*response_.status))
      return fail(Code::kCorrupt,
                  "a listing in which something failed with status " + std::to_string(*response_.status));
    if (!response_.href || !response_.found) return fail(Code::kCorrupt, "a listing with an entry that says nothing");
    auto path = href_path(*response_.href);
    if (!path) return {};
    entries.push_back(
        {*std::move(path), response_.found->collection, response_.found->size, response_.found->modified});
    return {};
  }

  std::vector<std::string> names_;  // of the open elements
  Response response_;
  Properties properties_;
  bool is_multistatus_ = false;
};

}  // namespace

std::string_view propfind_body() {
  return "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
         "<D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/><D:getcontentlength/><D:getlastmodified/></D:prop>"
         "</D:propfind>";
}

Result<std::vector<DavEntry>> read_multistatus(BytesView document) {
  MultistatusHandler handler;
  TRYV(read_xml(document, handler));
  TRYV(handler.finish());
  return std::move(handler.entries);
}

}  // namespace coffer
