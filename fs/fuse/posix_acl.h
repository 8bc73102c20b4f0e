// POSIX access control lists, as the extended attributes system.posix_acl_access and _default carry them. The kernel
// checks them (default_permissions); keeping them and the mode bits in step, and passing them on to new files, is up to
// the file system. After POSIX.1e draft 17, 23.1 and 23.3.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace coffer::fuse {

inline constexpr std::string_view kAclAccess = "system.posix_acl_access";
inline constexpr std::string_view kAclDefault = "system.posix_acl_default";

class PosixAcl {
 public:
  enum class Tag : uint16_t { kOwner = 1, kUser = 2, kOwningGroup = 4, kGroup = 8, kMask = 16, kOther = 32 };
  struct Entry {
    Tag tag = Tag::kOther;
    uint16_t permissions = 0;  // rwx
    uint32_t id = 0;           // of kUser and kGroup
    bool operator==(const Entry&) const = default;
  };

  // Layout: u32 version 2; then for each entry u16 tag, u16 permissions, u32 id; all little-endian. kInvalid unless it is
  // that, with one entry each for owner, owning group and other, and a mask when it has named users or groups.
  static Result<PosixAcl> decode(BytesView bytes);
  Bytes encode() const;

  // The nine permission bits that say the same, as far as they can.
  uint32_t mode() const;
  // Says no more than mode() does.
  bool is_mode() const;
  // chmod: takes over the nine bits.
  void set_mode(uint32_t mode);
  // As the default list of a directory in which something is made with `mode`: turns itself into the access list of the
  // new file, and returns the new file's mode. The umask has no say.
  uint32_t inherit(uint32_t mode);

  bool operator==(const PosixAcl&) const = default;

 private:
  const Entry* find(Tag tag) const;
  Entry* find(Tag tag) { return const_cast<Entry*>(std::as_const(*this).find(tag)); }
  // The one that the group bits of the mode stand for.
  Entry& group_class();

  std::vector<Entry> entries_;
};

}  // namespace coffer::fuse
