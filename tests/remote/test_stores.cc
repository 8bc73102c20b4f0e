#include "test_stores.h"

#include <gtest/gtest.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "crypto/hash.h"
#include "remote/file_store.h"
#include "remote/http_engine.h"
#include "remote/memory_store.h"
#include "remote/sigv4.h"
#include "remote/url.h"

namespace coffer {
namespace {

using Words = std::map<std::string, std::string>;

Words read_words(const std::string& line) {
  Words words;
  std::istringstream in(line);
  for (std::string word; in >> word;) {
    size_t equals = word.find('=');
    if (equals != std::string::npos) words[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return words;
}

struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "coffer-store-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

Backend::Made make_memory() {
  struct View : ObjectStore {  // so that the test owns its store while `plant` uses it
    std::shared_ptr<MemoryStore> inner = std::make_shared<MemoryStore>();
    Result<void> put(const std::string& k, BytesView d, std::stop_token s) override { return inner->put(k, d, s); }
    Result<Bytes> get(const std::string& k, size_t l, std::stop_token s) override { return inner->get(k, l, s); }
    Result<Bytes> get_range(const std::string& k, uint64_t o, size_t l, std::stop_token s) override {
      return inner->get_range(k, o, l, s);
    }
    Result<std::vector<ObjectInfo>> list(const std::string& p, std::stop_token s) override { return inner->list(p, s); }
    Result<void> remove(const std::string& k, std::stop_token s) override { return inner->remove(k, s); }
    std::string describe() const override { return inner->describe(); }
  };
  auto view = std::make_unique<View>();
  auto memory = view->inner;
  auto plant = [memory](const std::string& name, BytesView data) {
    memory->plant(name, data);
    return true;
  };
  return {std::move(view), plant, nullptr};
}

Backend::Made make_file() {
  auto directory = std::make_shared<TemporaryDirectory>();
  std::string root = directory->path + "/a/store";
  auto store = FileStore::open(root, true);
  EXPECT_TRUE(store) << store.error().what();
  auto plant = [root](const std::string& name, BytesView data) {
    std::filesystem::path path = root + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data.data()), std::ssize(data));
    return true;
  };
  return {*std::move(store), plant, directory};
}

bool raw_put(const StoreConfig& config, const Words& words, const std::string& name, BytesView data) {
  HttpOptions options;
  options.ca_file = config.ca_file;
  auto engine = HttpEngine::start(options, nullptr);
  HttpRequest request;
  request.method = "PUT";
  request.body = data;
  request.body_limit = 1 << 20;
  if (config.url.starts_with("s3://")) {
    auto url = parse_url(config.endpoint);
    std::string path = "/" + percent_encode(config.url.substr(5) + "/" + name, true);
    std::string hash = hex(sha256(data)), time = sigv4_time(Clock::system().wall());
    SigV4Request to_sign{
        "PUT", path, {}, {{"host", url->authority()}, {"x-amz-content-sha256", hash}, {"x-amz-date", time}}, hash};
    SigV4Key key{words.at("access_key"), words.at("secret_key"), config.region, "s3"};
    request.url = config.endpoint + path;
    request.headers = {"x-amz-content-sha256: " + hash, "x-amz-date: " + time,
                       "authorization: " + sigv4_authorization(key, to_sign, time)};
  } else {
    request.url = "https" + config.url.substr(config.url.find(':')) + "/" + percent_encode(name, true);
    request.auth = words.at("auth") == "digest" ? HttpAuth::kDigest : HttpAuth::kBasic;
    request.user = words.at("user");
    request.password = words.at("password");
  }
  auto response = (*engine)->perform(request, {});
  return response && response->ok();
}

Backend server_backend(const std::string& line) {
  Words words = read_words(line);
  Backend backend;
  backend.name = words["name"];
  bool s3 = words["url"].starts_with("s3://");
  backend.many = s3 ? 2500 : 700;
  backend.overwrite = s3                             ? Backend::Overwrite::kAtomic
                      : words["overwrite"] == "torn" ? Backend::Overwrite::kTorn
                                                     : Backend::Overwrite::kGaps;
  if (const char* many = std::getenv("COFFER_TEST_OBJECTS")) backend.many = static_cast<size_t>(std::atol(many));
  backend.make = [line, words]() -> Backend::Made {
    StoreConfig config = server_config(line);
    config.url += "/" + random_name();
    config.create = true;
    auto store = open_store(config);
    EXPECT_TRUE(store) << store.error().what();
    return {*std::move(store),
            [config, words](const std::string& name, BytesView data) { return raw_put(config, words, name, data); },
            nullptr};
  };
  return backend;
}

}  // namespace

std::string random_name() {
  uint8_t bytes[6];
  EXPECT_EQ(::getrandom(bytes, sizeof bytes, 0), std::ssize(bytes));
  return "t-" + hex(bytes);
}

StoreConfig server_config(const std::string& line) {
  Words words = read_words(line);
  StoreConfig config;
  config.url = words["url"];
  config.endpoint = words["endpoint"];
  config.region = words["region"];
  config.ca_file = words["ca"];
  if (!words["access_key"].empty()) {
    ::setenv("AWS_ACCESS_KEY_ID", words["access_key"].c_str(), 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", words["secret_key"].c_str(), 1);
    ::unsetenv("AWS_SESSION_TOKEN");
  } else {
    static const TemporaryDirectory directory;
    std::string netrc = directory.path + "/netrc";
    std::ofstream(netrc) << "machine 127.0.0.1 login " << words["user"] << " password " << words["password"] << "\n";
    ::chmod(netrc.c_str(), 0600);
    ::setenv("NETRC", netrc.c_str(), 1);
  }
  return config;
}

std::vector<Backend> test_backends() {
  std::vector<Backend> backends = {{"memory", 5000, Backend::Overwrite::kAtomic, make_memory},
                                   {"file", 3000, Backend::Overwrite::kAtomic, make_file}};
  const char* servers = std::getenv("COFFER_TEST_STORES");
  if (servers == nullptr) return backends;
  backends.clear();
  std::istringstream in(servers);
  for (std::string line; std::getline(in, line);)
    if (line.find("url=") != std::string::npos) backends.push_back(server_backend(line));
  return backends;
}

}  // namespace coffer
