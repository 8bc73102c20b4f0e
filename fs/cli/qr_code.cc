#include "fs/cli/qr_code.h"

#include <qrencode.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace coffer::cli {
namespace {

constexpr int kMargin = 2;  // modules; four are the rule, and two what every reader takes
constexpr std::string_view kBlackOnWhite = "\x1b[30;47m";
constexpr std::string_view kUsual = "\x1b[0m\n";
constexpr size_t kLongestCell = 3;  // bytes

// A code whose modules are wiped when it goes.
class Code {
 public:
  explicit Code(const char* text) : code_(QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 1)) {}
  ~Code() {
    if (code_ == nullptr) return;
    wipe({code_->data, static_cast<size_t>(code_->width) * static_cast<size_t>(code_->width)});
    QRcode_free(code_);
  }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  bool made() const { return code_ != nullptr; }
  int width() const { return code_->width; }
  bool dark(int row, int column) const {
    bool inside = row >= 0 && column >= 0 && row < width() && column < width();
    return inside && (code_->data[row * width() + column] & 1) != 0;
  }

 private:
  QRcode* code_;
};

}  // namespace

Outcome<Secret> qr_code(std::string_view text) {
  Secret terminated(text.size() + 1);
  std::memcpy(terminated.data().data(), text.data(), text.size());
  Code code(reinterpret_cast<const char*>(terminated.view().data()));
  if (!code.made()) return give_up(Failure(errno_error("QR code", errno)));

  const int width = code.width() + 2 * kMargin;
  const size_t lines = static_cast<size_t>(width + 1) / 2;
  Secret out(lines * (static_cast<size_t>(width) * kLongestCell + kBlackOnWhite.size() + kUsual.size()));
  size_t size = 0;
  auto append = [&](std::string_view piece) {
    std::memcpy(out.data().data() + size, piece.data(), piece.size());
    size += piece.size();
  };
  for (int row = -kMargin; row < width - kMargin; row += 2) {
    append(kBlackOnWhite);
    for (int column = -kMargin; column < width - kMargin; ++column) {
      bool upper = code.dark(row, column), lower = code.dark(row + 1, column);
      append(upper ? (lower ? "\u2588" : "\u2580") : (lower ? "\u2584" : " "));
    }
    append(kUsual);
  }
  return Secret(out.view().first(size));
}

}  // namespace coffer::cli
