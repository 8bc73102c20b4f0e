#include <string>

#include "crypto/require.h"
#include "crypto/slot.h"

namespace coffer {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr size_t kGroups = 13;
constexpr size_t kDataChars = 4;  // in a group, before its check character
constexpr size_t kKeySize = 32;
constexpr size_t kTextSize = kGroups * 6 - 1;  // groups of 5, and dashes between them

// Products by x in GF(32) modulo x^5 + x^2 + 1.
constexpr uint8_t times_x(uint8_t v) { return static_cast<uint8_t>((v << 1) ^ ((v & 16) != 0 ? 0x25 : 0)); }

// Distinct powers of x as weights: one wrong character changes the sum, and so does an exchange of two. The group's
// number is the constant term, so that a group is right in its own place only.
uint8_t check_value(size_t group, const uint8_t* data) {
  uint8_t sum = 0;
  for (size_t i = kDataChars; i-- > 0;) sum = times_x(sum ^ data[i]);
  return static_cast<uint8_t>(sum ^ (group + 1));
}

// The value of a character as a person may write it; -1 when it has none.
int char_value(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'O') c = '0';
  if (c == 'I' || c == 'L') c = '1';
  size_t v = kAlphabet.find(c);
  return v == std::string_view::npos ? -1 : static_cast<int>(v);
}

bool is_separator(char c) { return c == '-' || c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

RecoveryKey RecoveryKey::generate() { return RecoveryKey(Secret::random(kKeySize)); }

Secret RecoveryKey::text() const {
  internal::require(bits_.size() == kKeySize, "text of a moved-from recovery key");
  BytesView key = bits_.view();
  auto bit = [key](size_t i) { return i < 8 * kKeySize ? (key[i / 8] >> (7 - i % 8)) & 1 : 0; };
  Secret out(kTextSize);
  size_t at = 0;
  for (size_t group = 0; group < kGroups; ++group) {
    uint8_t data[kDataChars] = {};
    for (size_t i = 0; i < 5 * kDataChars; ++i)
      data[i / 5] = static_cast<uint8_t>(data[i / 5] << 1 | bit(group * 5 * kDataChars + i));
    if (group > 0) out.data()[at++] = '-';
    for (uint8_t v : data) out.data()[at++] = static_cast<uint8_t>(kAlphabet[v]);
    out.data()[at++] = static_cast<uint8_t>(kAlphabet[check_value(group, data)]);
    wipe(data);
  }
  return out;
}

Result<RecoveryKey> RecoveryKey::parse(std::string_view text) {
  Secret bits(kKeySize);
  Secret group_chars(kDataChars + 1);
  uint8_t* chars = group_chars.data().data();
  size_t group = 0, in_group = 0, bits_read = 0;
  auto wrong = [&group](std::string_view why) {
    return fail(Code::kInvalid, "recovery key: group " + std::to_string(group + 1) + " " + std::string(why));
  };

  for (char c : text) {
    if (is_separator(c)) continue;
    if (group == kGroups) return fail(Code::kInvalid, "recovery key: more than 13 groups of 5 characters");
    int v = char_value(c);
    if (v < 0) return wrong("has a character that is not used");
    chars[in_group++] = static_cast<uint8_t>(v);
    if (in_group <= kDataChars) continue;

    if (check_value(group, chars) != chars[kDataChars]) return wrong("is mistyped");
    for (size_t i = 0; i < 5 * kDataChars; ++i, ++bits_read) {
      int bit = (chars[i / 5] >> (4 - i % 5)) & 1;
      if (bits_read < 8 * kKeySize) {
        bits.data()[bits_read / 8] |= static_cast<uint8_t>(bit << (7 - bits_read % 8));
      } else if (bit != 0) {
        return wrong("is mistyped");  // the 4 spare bits
      }
    }
    in_group = 0;
    ++group;
  }
  if (group < kGroups) return wrong(in_group == 0 ? "is missing" : "is incomplete");
  return RecoveryKey(std::move(bits));
}

}  // namespace coffer
