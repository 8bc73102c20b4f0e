// Where S3 credentials come from: the places that every AWS tool knows.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"

namespace coffer {

struct AwsCredentials {
  std::string access_key, secret_key;
  std::string session_token;  // or ""
  std::optional<WallTime> expires;
  bool operator==(const AwsCredentials&) const = default;
};

// An AWS shared file: sections of NAME = VALUE lines.
using IniFile = std::map<std::string, std::map<std::string, std::string>>;
IniFile read_ini(std::string_view text);

// "2026-11-24T07:00:00Z" and its variants with a fraction or an offset.
std::optional<WallTime> parse_iso8601(std::string_view text);

// What a test replaces.
struct AwsEnvironment {
  std::function<std::optional<std::string>(const char*)> variable;  // of the environment; empty counts as unset
  const Clock* clock = &Clock::system();

  static AwsEnvironment system();
};

// In this order: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN; then for the profile AWS_PROFILE or
// "default" the keys in the shared credentials file, a credential_process, the keys in the config file
// (AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials; AWS_CONFIG_FILE, ~/.aws/config). Credentials are kept and looked
// for again five minutes before they expire, or after forget(). Error texts name places, never values. Thread-safe; a
// credential_process runs without a lock held, and two callers may run it at once.
class AwsCredentialSource {
 public:
  explicit AwsCredentialSource(AwsEnvironment environment = AwsEnvironment::system());

  // kDenied when there are none anywhere, with a text that says where they were looked for.
  Result<AwsCredentials> get(std::stop_token stop);
  // Call after the server refused `used`; the next get() looks again.
  void forget(const AwsCredentials& used);
  // Whether get() starts a program of the user's: a credential_process, as the files are now.
  bool runs_program() const;
  // Where get() looks, in directories or in files.
  std::vector<std::string> places() const;
  // AWS_REGION, AWS_DEFAULT_REGION, the profile's region, or "".
  std::string region() const;

 private:
  struct Profile {
    std::string name;
    std::map<std::string, std::string> credentials, config;
  };
  Result<Profile> profile() const;
  Result<AwsCredentials> find(const std::stop_token& stop) const;
  Result<AwsCredentials> from_process(const Profile& profile, const std::string& command,
                                      const std::stop_token& stop) const;

  const AwsEnvironment environment_;
  Mutex mutex_{Rank::kLeaf};
  std::optional<AwsCredentials> kept_ GUARDED_BY(mutex_);
};

}  // namespace coffer
