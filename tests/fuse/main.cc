// Tests on a real mount need /dev/fuse and the right to mount: without, they say so and are skipped (77 for ctest).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  int fd = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0 || ::geteuid() != 0) {
    puts("SKIP: this needs root and /dev/fuse");
    return 77;
  }
  ::close(fd);
  return RUN_ALL_TESTS();
}
