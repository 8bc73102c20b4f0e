#include "remote/aws_credentials.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/fd.h"
#include "remote/helper_process.h"
#include "remote/json_object.h"

namespace coffer {
namespace {

constexpr size_t kMostFileBytes = 1 << 20;
constexpr Nanos kEarly = std::chrono::minutes(5);
constexpr Nanos kProcessTimeout = std::chrono::minutes(1);

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::string lookup(const std::map<std::string, std::string>& map, const std::string& key) {
  auto it = map.find(key);
  return it == map.end() ? std::string() : it->second;
}

std::optional<AwsCredentials> keys_of(const std::map<std::string, std::string>& section) {
  AwsCredentials c{lookup(section, "aws_access_key_id"), lookup(section, "aws_secret_access_key"),
                   lookup(section, "aws_session_token"), std::nullopt};
  if (c.access_key.empty() || c.secret_key.empty()) return std::nullopt;
  return c;
}

}  // namespace

IniFile read_ini(std::string_view text) {
  IniFile file;
  std::map<std::string, std::string>* section = nullptr;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    // An indented line continues a nested setting (s3 = ...), of which none concerns us.
    bool nested = !line.empty() && (line.front() == ' ' || line.front() == '\t');
    line = trim(line);
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      size_t close = line.find(']');
      section = close == std::string_view::npos ? nullptr : &file[std::string(trim(line.substr(1, close - 1)))];
      continue;
    }
    size_t equals = line.find('=');
    if (nested || section == nullptr || equals == std::string_view::npos) continue;
    std::string name(trim(line.substr(0, equals)));
    for (char& c : name)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    (*section)[name] = std::string(trim(line.substr(equals + 1)));
  }
  return file;
}

std::optional<WallTime> parse_iso8601(std::string_view text) {
  std::string copy(text);
  tm parts{};
  int used = 0;
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
                  &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &used) != 6)
    return std::nullopt;
  if (parts.tm_year < 1970 || parts.tm_mon < 1 || parts.tm_mon > 12 || parts.tm_mday < 1 || parts.tm_mday > 31 ||
      parts.tm_hour < 0 || parts.tm_hour > 23 || parts.tm_min < 0 || parts.tm_min > 59 || parts.tm_sec < 0 ||
      parts.tm_sec > 60)
    return std::nullopt;
  std::string_view zone = text.substr(static_cast<size_t>(used));
  if (zone.starts_with('.')) {
    size_t end = zone.find_first_not_of("0123456789", 1);
    zone = end == std::string_view::npos ? std::string_view() : zone.substr(end);
  }
  int64_t offset = 0;
  if (zone.starts_with('+') || zone.starts_with('-')) {
    int hours = 0, minutes = 0;
    std::string digits;
    for (char c : zone.substr(1))
      if (c != ':') digits.push_back(c);
    if (digits.size() != 4 || std::sscanf(digits.c_str(), "%2d%2d", &hours, &minutes) != 2) return std::nullopt;
    offset = (hours * 60 + minutes) * 60 * (zone.front() == '-' ? -1 : 1);
  } else if (zone != "Z") {
    return std::nullopt;
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  // Some say "9999-12-31" for never; our time ends in 2262.
  constexpr int64_t kSecond = 1'000'000'000;
  return WallTime{std::min(static_cast<int64_t>(timegm(&parts)) - offset, INT64_MAX / kSecond) * kSecond};
}

AwsEnvironment AwsEnvironment::system() {
  AwsEnvironment environment;
  environment.variable = [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
  return environment;
}

AwsCredentialSource::AwsCredentialSource(AwsEnvironment environment) : environment_(std::move(environment)) {}

Result<AwsCredentials> AwsCredentialSource::get(std::stop_token stop) {
  {
    MutexLock lock(mutex_);
    bool fresh = kept_ && (!kept_->expires || kept_->expires->ns - kEarly.count() > environment_.clock->wall().ns);
    if (fresh) return *kept_;
  }
  auto found = find(stop);
  MutexLock lock(mutex_);
  if (found) {
    kept_ = *found;
    return found;
  }
  // The helper failed within the five minutes: what we have still serves.
  if (kept_ && kept_->expires && kept_->expires->ns > environment_.clock->wall().ns &&
      found.error().code() != Code::kCancelled)
    return *kept_;
  return found;
}

void AwsCredentialSource::forget(const AwsCredentials& used) {
  MutexLock lock(mutex_);
  if (kept_ == used) kept_.reset();
}

Result<AwsCredentialSource::Profile> AwsCredentialSource::profile() const {
  auto variable = [&](const char* name) { return environment_.variable(name); };
  std::string home = variable("HOME").value_or("");
  auto load = [&](const char* name, const char* usual) -> Result<IniFile> {
    auto path = variable(name);
    if (!path && home.empty()) return IniFile{};
    std::string file = path ? *path : home + usual;
    auto bytes = read_file(file, kMostFileBytes);
    if (bytes) return read_ini(as_string(*bytes));
    if (bytes.error().code() == Code::kNotFound && !path) return IniFile{};
    return fail(Code::kDenied, std::string("S3 credentials: ") + bytes.error().what());
  };
  Profile p;
  p.name = variable("AWS_PROFILE").value_or(variable("AWS_DEFAULT_PROFILE").value_or("default"));
  TRY(IniFile credentials, load("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials"));
  TRY(IniFile config, load("AWS_CONFIG_FILE", "/.aws/config"));
  p.credentials = credentials[p.name];
  p.config = config["profile " + p.name];
  if (p.config.empty() && p.name == "default") p.config = config["default"];
  return p;
}

Result<AwsCredentials> AwsCredentialSource::find(const std::stop_token& stop) const {
  auto access = environment_.variable("AWS_ACCESS_KEY_ID"), secret = environment_.variable("AWS_SECRET_ACCESS_KEY");
  if (access && secret)
    return AwsCredentials{*access, *secret, environment_.variable("AWS_SESSION_TOKEN").value_or(""), std::nullopt};
  if (access || secret)
    return fail(Code::kDenied, std::string("S3 credentials: ") +
                                   (access ? "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"
                                           : "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not"));
  TRY(Profile p, profile());
  if (auto keys = keys_of(p.credentials)) return *keys;
  for (const auto* section : {&p.credentials, &p.config}) {
    std::string command = lookup(*section, "credential_process");
    if (!command.empty()) return from_process(p, command, stop);
  }
  if (auto keys = keys_of(p.config)) return *keys;
  for (const char* unsupported : {"role_arn", "sso_session", "sso_start_url", "web_identity_token_file"})
    if (!lookup(p.config, unsupported).empty() || !lookup(p.credentials, unsupported).empty())
      return fail(Code::kUnsupported, "S3 credentials: profile " + p.name + " uses " + unsupported +
                                          ", which coffer does not do itself; give the profile a credential_process, "
                                          "for example: aws configure export-credentials --profile " +
                                          p.name);
  return fail(
      Code::kDenied,
      "S3 credentials: none found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or put them into section [" +
          p.name + "] of ~/.aws/credentials (AWS_PROFILE chooses another)");
}

Result<AwsCredentials> AwsCredentialSource::from_process(const Profile& p, const std::string& command,
                                                         const std::stop_token& stop) const {
  std::string what = "S3 credentials: credential_process of profile " + p.name;
  auto words = split_command(command);
  if (!words) return fail(words.error().in(what));
  auto printed = run_helper(*words, kMostFileBytes, kProcessTimeout, stop);
  if (!printed) return fail(printed.error().in(what));
  auto members = read_json_object(*printed);
  if (!members || lookup(*members, "Version") != "1")
    return fail(Code::kDenied, what + ": did not print a JSON object with \"Version\": 1; run it by hand to see");
  AwsCredentials c{lookup(*members, "AccessKeyId"), lookup(*members, "SecretAccessKey"),
                   lookup(*members, "SessionToken"), std::nullopt};
  if (c.access_key.empty() || c.secret_key.empty())
    return fail(Code::kDenied, what + ": printed no AccessKeyId or no SecretAccessKey; run it by hand to see");
  if (std::string expiration = lookup(*members, "Expiration"); !expiration.empty()) {
    c.expires = parse_iso8601(expiration);
    if (!c.expires) return fail(Code::kDenied, what + ": printed an Expiration that is no ISO 8601 time");
    if (c.expires->ns <= environment_.clock->wall().ns)
      return fail(Code::kDenied,
                  what + ": printed credentials that have expired already; is this machine's clock right?");
  }
  return c;
}

bool AwsCredentialSource::runs_program() const {
  if (environment_.variable("AWS_ACCESS_KEY_ID")) return false;
  auto p = profile();
  if (!p || keys_of(p->credentials)) return false;
  return !lookup(p->credentials, "credential_process").empty() || !lookup(p->config, "credential_process").empty();
}

std::vector<std::string> AwsCredentialSource::places() const {
  std::vector<std::string> out;
  for (const char* name : {"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"})
    if (auto path = environment_.variable(name)) out.push_back(*path);
  if (auto home = environment_.variable("HOME")) out.push_back(*home + "/.aws");
  return out;
}

std::string AwsCredentialSource::region() const {
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"})
    if (auto region = environment_.variable(name)) return *region;
  auto p = profile();
  return p ? lookup(p->config, "region") : std::string();
}

}  // namespace coffer
