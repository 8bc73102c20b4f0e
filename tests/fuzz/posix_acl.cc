// Access control lists: from setfacl, or from another device's extended attributes.
#include "fs/fuse/posix_acl.h"

#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  auto acl = fuse::PosixAcl::decode(input);
  if (!acl) return;
  require(must(fuse::PosixAcl::decode(acl->encode())) == *acl, "a list comes back");
  (void)acl->is_mode();
  uint32_t mode = acl->mode();
  acl->set_mode(mode);
  require(acl->mode() == mode, "setting the mode that is there changes nothing");
  fuse::PosixAcl inherited = *acl;
  uint32_t made = inherited.inherit(0640);
  require((made & ~0640u) == 0 && (inherited.mode() & 0777) == (made & 0777), "a new file gets no more than was asked");
  must(fuse::PosixAcl::decode(inherited.encode()));
}
