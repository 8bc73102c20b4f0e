#include "fs/cli/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/fd.h"

namespace coffer::cli {
namespace {

class Pipe {
 public:
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    out_ = Fd(ends[0]);
    in_ = Fd(ends[1]);
  }
  int in() const { return in_.get(); }
  std::string read() const {
    char text[4096];
    ssize_t n = ::read(out_.get(), text, sizeof text);
    return n > 0 ? std::string(text, static_cast<size_t>(n)) : "";
  }

 private:
  Fd out_, in_;
};

TEST(Progress, TextSaysBytesFilesRateAndTimeLeft) {
  EXPECT_EQ(progress_text({1 << 20, 4 << 20, 12, 1 << 20, true, ""}),
            "25 %, 1.0 MiB of 4.0 MiB, 12 files waiting, 1.0 MiB/s, 3 s left");
  EXPECT_EQ(progress_text({0, 0, 0, 0, true, ""}), "100 %, 0 B of 0 B");
  EXPECT_EQ(progress_text({0, 100, 1, 0, false, ""}), "0 %, 0 B of 100 B, 1 file waiting, store not reached");
  EXPECT_EQ(progress_text({0, 100, 1, 5, true, "403"}), "0 %, 0 B of 100 B, 1 file waiting, 403");
  // More was done than was known of at the start.
  EXPECT_EQ(progress_text({200, 100, 0, 5, true, ""}), "100 %, 200 B of 100 B, 5 B/s");
}

TEST(Progress, BarFitsTheTerminal) {
  std::string bar = progress_bar({1, 2, 3, 4, true, ""}, 200);
  EXPECT_TRUE(bar.starts_with("[############............] 50 %")) << bar;
  EXPECT_EQ(progress_bar({1, 2, 3, 4, true, ""}, 20).size(), 20u);
}

TEST(Progress, LinesComeEveryFiveSeconds) {
  Pipe pipe;
  FakeClock clock;
  ProgressView view(pipe.in(), ProgressView::Style::kLines, clock);
  view.show({1, 2, 0, 0, true, ""});
  EXPECT_EQ(pipe.read(), "");
  clock.advance(std::chrono::seconds(5));
  view.show({1, 2, 0, 0, true, ""});
  EXPECT_EQ(pipe.read(), "50 %, 1 B of 2 B\n");
  view.show({2, 2, 0, 0, true, ""});
  EXPECT_EQ(pipe.read(), "");
}

TEST(Progress, BarIsRedrawnInPlaceAndLeavesTheLine) {
  Pipe pipe;
  FakeClock clock;
  {
    ProgressView view(pipe.in(), ProgressView::Style::kBar, clock);
    view.show({1, 2, 0, 0, true, ""});
    view.show({1, 2, 0, 0, true, ""});
    std::string text = pipe.read();
    EXPECT_TRUE(text.starts_with("\r[")) << text;
    EXPECT_EQ(text.find('\r', 1), std::string::npos);
  }
  EXPECT_EQ(pipe.read(), "\n");
}

TEST(Progress, QuietSaysNothing) {
  Pipe pipe;
  FakeClock clock;
  {
    ProgressView view(pipe.in(), ProgressView::Style::kNone, clock);
    clock.advance(std::chrono::seconds(50));
    view.show({1, 2, 0, 0, true, ""});
  }
  EXPECT_EQ(pipe.read(), "");
}

}  // namespace
}  // namespace coffer::cli
