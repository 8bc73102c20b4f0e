// A daemon that was killed leaves a mount that answers nobody; the next one takes it away.
#include "fs/fuse/dead_mount.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "fs/fuse/mount_points.h"
#include "tests/fuse/fixture.h"

namespace coffer {
namespace {

TEST(DeadMount, IsSeenAndCleared) {
  TempDir directory;
  EXPECT_FALSE(is_dead_mount(directory.path()));
  EXPECT_FALSE(is_dead_mount(directory.path() + "/nothing"));
  EXPECT_FALSE(clear_dead_mount(directory.path()).has_value());
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  pid_t daemon = ::fork();
  if (daemon == 0) {
    Mounted m([&](MountOptions& o) { o.place.directory = directory.path(); });
    write_text(directory.path() + "/f", "x");
    (void)!::write(ready[1], "!", 1);
    for (;;) ::pause();
  }
  char c = 0;
  ASSERT_EQ(::read(ready[0], &c, 1), 1);
  EXPECT_FALSE(is_dead_mount(directory.path())) << "somebody serves it";
  EXPECT_FALSE(clear_dead_mount(directory.path()).has_value());
  Fd open(::open((directory.path() + "/f").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(static_cast<bool>(open));
  ::kill(daemon, SIGKILL);
  ::waitpid(daemon, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return is_dead_mount(directory.path()); }));
  EXPECT_TRUE(is_dead_mount(directory.path() + "/"));
  auto cleared = clear_dead_mount(directory.path());
  EXPECT_TRUE(cleared.has_value()) << cleared.error().what();
  EXPECT_FALSE(is_dead_mount(directory.path()));
  auto left = fuse::mount_point_at(directory.path());
  ASSERT_TRUE(left.has_value());
  EXPECT_FALSE(left->has_value());
}

TEST(DeadMount, OthersAreLeftAlone) {
  TempDir directory;
  ASSERT_EQ(::mount("none", directory.path().c_str(), "tmpfs", 0, "size=64k"), 0);
  EXPECT_FALSE(is_dead_mount(directory.path()));
  EXPECT_FALSE(clear_dead_mount(directory.path()).has_value());
  EXPECT_EQ(::umount(directory.path().c_str()), 0);
}

}  // namespace
}  // namespace coffer
