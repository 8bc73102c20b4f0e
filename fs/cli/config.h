// config.toml: volumes by name, so that `coffer mount photos` is enough.
//
//   [volume.photos]
//   store = "s3://bucket/photos"
//   endpoint = "https://s3.example.org"
//   directory = "~/photos"
//   passphrase_command = "pass show coffer"
#pragma once

#include <string>
#include <string_view>

#include "fs/cli/failure.h"
#include "fs/cli/settings.h"

namespace coffer::cli {

// $XDG_CONFIG_HOME/coffer/config.toml or ~/.config/coffer/config.toml; COFFER_CONFIG names another.
std::string config_path();

// The settings of volume `name`. kUsage: no such file or volume, an unknown key, a wrong type, or a syntax error, with
// its line. `path` is for messages.
Outcome<VolumeSettings> settings_from_toml(std::string_view text, const std::string& path, const std::string& name);
// kPermission when others may write to the file: it can name a command to run.
Outcome<VolumeSettings> settings_from_config(const std::string& path, const std::string& name);

// "~" and "~/..." become the home directory.
std::string expand_home(const std::string& path);
// $HOME, or what the password database says.
std::string home_directory();

}  // namespace coffer::cli
