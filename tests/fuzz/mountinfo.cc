// /proc/self/mountinfo: paths in it are any user's who may mount.
#include "fs/cli/mount_table.h"
#include "fs/fuse/mount_points.h"
#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  auto mounts = cli::parse_mountinfo(as_string(input));
  (void)cli::find_coffer_mount(mounts, "/a/b/c");
  (void)fuse::parse_mount_points(as_string(input));
}
