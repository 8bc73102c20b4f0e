#include "remote/open_store.h"

#include <unistd.h>

#include <filesystem>
#include <variant>

#include "remote/aws_credentials.h"
#include "remote/file_store.h"
#include "remote/http_client.h"
#include "remote/http_engine.h"
#include "remote/metered_store.h"
#include "remote/netrc.h"
#include "remote/s3_store.h"
#include "remote/url.h"
#include "remote/webdav_store.h"

namespace coffer {
namespace {

struct DirectoryPlace {
  std::string path;  // absolute: a daemon changes its working directory
};
using Place = std::variant<DirectoryPlace, S3Place, WebdavPlace>;

Error credentials_in_url() {
  return Error(
      Code::kInvalid,
      "a store's URL must not hold credentials, since command lines and logs are read by others: put them into "
      "~/.netrc (WebDAV) or into the environment or ~/.aws/credentials (S3)");
}

Result<Place> directory_place(std::string path) {
  if (path.find('\0') != std::string::npos) return fail(Code::kInvalid, "the store's directory has a NUL in its name");
  std::error_code error;
  auto absolute = std::filesystem::absolute(path, error).lexically_normal();
  if (error) return fail(Code::kInvalid, "the store's directory: " + error.message());
  return DirectoryPlace{absolute.string()};
}

// "https" or an allowed "http".
Result<void> check_scheme(const std::string& scheme, const Url& url, const StoreConfig& config) {
  if (url.host.empty()) return fail(Code::kInvalid, "the URL names no host");
  if (url.has_query) return fail(Code::kInvalid, "the URL has a '?': write %3F when it belongs to the path");
  if (scheme == "https") return {};
  if (!is_loopback_literal(url.host))
    return fail(Code::kInvalid, "plaintext to " + url.host +
                                    " is refused: only TLS is used over a network (plaintext can be allowed for a "
                                    "loopback address such as 127.0.0.1)");
  if (!config.allow_plaintext_loopback)
    return fail(Code::kInvalid, "plaintext to " + url.host + " is refused unless it is asked for by its own option");
  return {};
}

bool valid_bucket(std::string_view bucket) {
  return bucket.size() >= 3 && bucket.size() <= 255 && valid_key_component(bucket);
}

Result<Place> s3_place(std::string_view rest, const StoreConfig& config) {
  if (rest.substr(0, rest.find('/')).find('@') != std::string_view::npos) return fail(credentials_in_url());
  S3Place place;
  place.bucket = rest.substr(0, rest.find('/'));
  if (!valid_bucket(place.bucket))
    return fail(Code::kInvalid, "s3://BUCKET[/PREFIX]: " + printable(place.bucket) + " is not the name of a bucket");
  rest.remove_prefix(std::min(rest.size(), place.bucket.size() + 1));
  while (rest.ends_with('/')) rest.remove_suffix(1);
  if (!rest.empty() && !valid_object_key(rest))
    return fail(Code::kInvalid,
                "s3://BUCKET/PREFIX: a prefix has letters, digits, '.', '_', '-' and '/' between its "
                "parts, no part begins with '.', and at most 200 characters");
  place.prefix = rest.empty() ? "" : std::string(rest) + "/";
  place.region = config.region;
  place.path_style = config.path_style;
  for (char c : place.region)
    if (!valid_key_component(std::string_view(&c, 1)) && c != '.')
      return fail(Code::kInvalid, "the region makes no sense");
  if (config.endpoint.empty()) {
    place.scheme = "https";  // the authority follows from the region, which the AWS files may hold
  } else {
    auto url = parse_url(config.endpoint);
    if (!url) return fail(url.error().in("endpoint"));
    if (url->has_user) return fail(credentials_in_url());
    if (url->scheme != "https" && url->scheme != "http")
      return fail(Code::kInvalid, "endpoint: must begin with https://");
    if (auto checked = check_scheme(url->scheme, *url, config); !checked) return fail(checked.error().in("endpoint"));
    if (!url->path.empty()) return fail(Code::kInvalid, "endpoint: must be https://HOST[:PORT] without a path");
    place.scheme = url->scheme;
    place.authority = url->authority();
    // No name can be put before an address.
    if (is_ip_literal(url->host)) place.path_style = true;
  }
  // A wildcard certificate covers one label, so a bucket with a dot in its name would not verify.
  if (place.bucket.find('.') != std::string::npos) place.path_style = true;
  return place;
}

Result<Place> webdav_place(const StoreConfig& config) {
  TRY(Url url, parse_url(config.url));
  if (url.has_user) return fail(credentials_in_url());
  std::string scheme = url.scheme == "webdavs" ? "https" : "http";
  TRYV(check_scheme(scheme, url, config));
  while (url.path.ends_with('/')) url.path.pop_back();
  for (size_t begin = 0; begin < url.path.size();) {
    size_t end = std::min(url.path.find('/', begin), url.path.size());
    std::string part = url.path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..")
      return fail(Code::kInvalid, "the URL's path has an empty part, '.' or '..'");
    begin = end + 1;
  }
  return WebdavPlace{scheme, url.authority(), url.host, url.path, config.create, config.parallel};
}

Result<Place> parse(const StoreConfig& config) {
  std::string_view url = config.url;
  if (url.empty()) return fail(Code::kInvalid, "no store given: a path, s3://BUCKET/PREFIX or webdavs://HOST/PATH");
  if (url.starts_with('/') || url == "." || url == ".." || url.starts_with("./") || url.starts_with("../"))
    return directory_place(std::string(url));
  size_t colon = url.find("://");
  std::string_view scheme = url.substr(0, colon);
  if (colon == std::string_view::npos)
    return fail(Code::kInvalid, "not a store: " + printable(url) + "; write ./" + printable(url) +
                                    " for a directory here, s3://BUCKET/PREFIX or webdavs://HOST/PATH");
  if (scheme == "file") {
    TRY(Url parsed, parse_url(url));
    if (parsed.has_query) return fail(Code::kInvalid, "the URL has a '?': write %3F when it belongs to the path");
    if (!parsed.host.empty() && parsed.host != "localhost")
      return fail(Code::kInvalid, "file:// needs three slashes: file:///path");
    return directory_place("/" + parsed.path);
  }
  if (scheme == "s3") return s3_place(url.substr(colon + 3), config);
  if (scheme == "webdavs" || scheme == "webdav") return webdav_place(config);
  if (scheme == "https" || scheme == "http")
    return fail(Code::kInvalid,
                "for a WebDAV server write webdavs://HOST/PATH; for S3 write s3://BUCKET/PREFIX and give "
                "the server's address as endpoint");
  return fail(Code::kUnsupported, "no store speaks " + printable(scheme) +
                                      "://; there are paths, file://, s3:// and "
                                      "webdavs://");
}

Result<std::unique_ptr<HttpClient>> make_client(const StoreConfig& config, std::shared_ptr<TransferMeter> meter) {
  HttpOptions options;
  options.allow_plaintext_loopback = config.allow_plaintext_loopback;
  options.parallel = config.parallel;
  options.connect_timeout = config.connect_timeout;
  options.stall_timeout = config.stall_timeout;
  if (!config.ca_file.empty()) {
    options.ca_file = std::filesystem::absolute(config.ca_file).string();
    if (::access(options.ca_file.c_str(), R_OK) != 0) return fail(errno_error("CA file " + options.ca_file, errno));
  }
  TRY(auto engine, HttpEngine::start(std::move(options), std::move(meter)));
  return std::make_unique<HttpClient>(std::move(engine));
}

// A directory, and where it comes back when its disk was pulled out and plugged in again: then it is another one.
std::vector<std::string> places_of(const std::string& directory) {
  std::filesystem::path absolute = std::filesystem::absolute(directory);
  for (const char* above : {"/media", "/run/media", "/mnt"})
    if (absolute.string().starts_with(std::string(above) + "/")) return {absolute.string(), above};
  // One that is not there yet will be made, moved or mounted where it should be: below what there is of its path, or, since
  // a mount hides the directory that it is on, beside that.
  std::error_code ignored;
  std::filesystem::path there = absolute;
  while (there.has_relative_path() && !std::filesystem::exists(there, ignored)) there = there.parent_path();
  if (there == absolute) return {absolute.string()};
  return {absolute.string(), there.parent_path().string()};
}

}  // namespace

Result<void> check_store_config(const StoreConfig& config) {
  TRYV(parse(config));
  return {};
}

Result<StoreNeeds> store_needs(const StoreConfig& config) {
  TRY(Place place, parse(config));
  if (const auto* directory = std::get_if<DirectoryPlace>(&place)) return StoreNeeds{{}, places_of(directory->path)};
  StoreNeeds needs;
  if (!config.ca_file.empty()) needs.read.push_back(std::filesystem::absolute(config.ca_file).string());
  if (std::holds_alternative<S3Place>(place)) {
    AwsCredentialSource credentials;
    for (std::string& path : credentials.places()) needs.read.push_back(std::move(path));
    needs.programs = credentials.runs_program();
  } else {
    needs.read.push_back(netrc_path());
  }
  return needs;
}

Result<std::unique_ptr<ObjectStore>> open_store(const StoreConfig& config, std::shared_ptr<TransferMeter> meter) {
  TRY(Place place, parse(config));
  if (!meter) meter = std::make_shared<TransferMeter>();
  meter->set_limits(config.upload_limit, config.download_limit);
  if (const auto* directory = std::get_if<DirectoryPlace>(&place)) {
    TRY(std::unique_ptr<ObjectStore> store, FileStore::open(directory->path, config.create));
    return std::make_unique<MeteredStore>(std::move(store), std::move(meter));
  }
  TRY(auto client, make_client(config, std::move(meter)));
  if (auto* s3 = std::get_if<S3Place>(&place)) {
    auto credentials = std::make_unique<AwsCredentialSource>();
    if (s3->region.empty()) s3->region = credentials->region();
    if (s3->region.empty()) s3->region = "us-east-1";
    if (s3->authority.empty()) {
      bool china = s3->region.starts_with("cn-");
      s3->authority = "s3." + s3->region + ".amazonaws.com" + (china ? ".cn" : "");
    }
    return std::make_unique<S3Store>(std::move(*s3), std::move(client), std::move(credentials));
  }
  return std::make_unique<WebdavStore>(std::get<WebdavPlace>(std::move(place)), std::move(client));
}

}  // namespace coffer
