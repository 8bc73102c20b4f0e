// Where an unlocked key is kept between mounts, outside coffer: in the kernel's keyring of the user, until he logs out, or
// in the desktop's Secret Service. What is kept is said in crypto/kept_key.h.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "crypto/secret.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// Thread-safe: without state.
class KeyKeeper {
 public:
  virtual ~KeyKeeper() = default;

  // Replaces what is kept for the volume.
  virtual Outcome<void> keep(const VolumeId& volume, const Secret& text) = 0;
  // nullopt when nothing is kept.
  virtual Outcome<std::optional<Secret>> find(const VolumeId& volume) = 0;
  // False when nothing was kept.
  virtual Outcome<bool> forget(const VolumeId& volume) = 0;
  virtual std::string name() const = 0;  // for messages: "the kernel keyring"
};

// A key of type "user" called coffer:VOLUME in the user's keyring (@u).
std::unique_ptr<KeyKeeper> make_kernel_keyring();
// An item with the attributes application=coffer and volume=VOLUME, by the program secret-tool.
std::unique_ptr<KeyKeeper> make_secret_service();
// By the value of the setting keep_key, which must be one that set_field() takes.
std::unique_ptr<KeyKeeper> make_key_keeper(const std::string& keep_key);

}  // namespace coffer::cli
