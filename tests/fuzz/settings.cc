// What a person says: mount options, config.toml, sizes and flags, the recovery key.
#include "crypto/slot.h"
#include "fs/cli/config.h"
#include "fs/cli/mount_options.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {

// which u8 | text
void run(BytesView input) {
  using namespace cli;
  Input in(input);
  uint8_t which = in.byte();
  std::string text(in.text());
  switch (which) {
    case 0: {
      MountFlags flags;
      VolumeSettings settings;
      (void)parse_mount_options(text, flags, settings);
      return;
    }
    case 1:
      (void)settings_from_toml(text, "config.toml", "v");
      return;
    case 2:
      if (auto size = parse_size(text)) require(*size < uint64_t{1} << 63, "sizes are bounded");
      (void)parse_bool(text);
      return;
    default:
      break;
  }
  if (auto key = RecoveryKey::parse(text)) {
    Secret written = key->text();
    auto again = must(RecoveryKey::parse(as_string(written.view())));
    require(again.bits().equal(key->bits()), "a recovery key comes back");
  }
}

}  // namespace coffer::fuzz
