#include "fs/fuse/posix_acl.h"

#include <algorithm>
#include <utility>

namespace coffer::fuse {

namespace {

constexpr uint32_t kVersion = 2;
constexpr size_t kEntryBytes = 8;
constexpr uint32_t kModeBits = 0777;

}  // namespace

Result<PosixAcl> PosixAcl::decode(BytesView bytes) {
  Reader in(bytes);
  PosixAcl acl;
  if (in.u32() != kVersion || in.remaining() % kEntryBytes != 0) return fail(Code::kInvalid, "not an ACL");
  size_t owners = 0, owning_groups = 0, others = 0, masks = 0, named = 0;
  while (in.remaining() > 0) {
    Entry e;
    e.tag = static_cast<Tag>(in.u16());
    e.permissions = in.u16();
    e.id = in.u32();
    if (e.permissions > 7) return fail(Code::kInvalid, "ACL permissions");
    switch (e.tag) {
      case Tag::kOwner:
        ++owners;
        break;
      case Tag::kOwningGroup:
        ++owning_groups;
        break;
      case Tag::kOther:
        ++others;
        break;
      case Tag::kMask:
        ++masks;
        break;
      case Tag::kUser:
      case Tag::kGroup:
        ++named;
        break;
      default:
        return fail(Code::kInvalid, "ACL tag");
    }
    acl.entries_.push_back(e);
  }
  bool complete = owners == 1 && owning_groups == 1 && others == 1 && masks <= 1 && (named == 0 || masks == 1);
  if (!in.ok() || !complete) return fail(Code::kInvalid, "ACL entries");
  return acl;
}

Bytes PosixAcl::encode() const {
  Bytes out;
  Writer w(out);
  w.u32(kVersion);
  for (const Entry& e : entries_) {
    w.u16(static_cast<uint16_t>(e.tag));
    w.u16(e.permissions);
    w.u32(e.id);
  }
  return out;
}

const PosixAcl::Entry* PosixAcl::find(Tag tag) const {
  auto it = std::find_if(entries_.begin(), entries_.end(), [tag](const Entry& e) { return e.tag == tag; });
  return it == entries_.end() ? nullptr : &*it;
}

PosixAcl::Entry& PosixAcl::group_class() {
  Entry* mask = find(Tag::kMask);
  return mask ? *mask : *find(Tag::kOwningGroup);
}

uint32_t PosixAcl::mode() const {
  const Entry& group = const_cast<PosixAcl*>(this)->group_class();
  return static_cast<uint32_t>(find(Tag::kOwner)->permissions << 6 | group.permissions << 3 |
                               find(Tag::kOther)->permissions);
}

bool PosixAcl::is_mode() const { return entries_.size() == 3; }

void PosixAcl::set_mode(uint32_t mode) {
  find(Tag::kOwner)->permissions = (mode >> 6) & 7;
  group_class().permissions = (mode >> 3) & 7;
  find(Tag::kOther)->permissions = mode & 7;
}

uint32_t PosixAcl::inherit(uint32_t wanted) {
  set_mode(wanted & mode());
  return (wanted & ~kModeBits) | mode();
}

}  // namespace coffer::fuse
