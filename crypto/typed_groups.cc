#include "crypto/typed_groups.h"

#include <string>

namespace coffer::internal {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr size_t kDataChars = kGroupBits / 5;  // in a group, before its check character

size_t groups_for(size_t bytes) { return (8 * bytes + kGroupBits - 1) / kGroupBits; }

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

Secret groups_text(BytesView bits) {
  const size_t groups = groups_for(bits.size());
  auto bit = [bits](size_t i) { return i < 8 * bits.size() ? (bits[i / 8] >> (7 - i % 8)) & 1 : 0; };
  Secret out(groups * (kDataChars + 2) - 1);
  size_t at = 0;
  for (size_t group = 0; group < groups; ++group) {
    uint8_t data[kDataChars] = {};
    for (size_t i = 0; i < kGroupBits; ++i)
      data[i / 5] = static_cast<uint8_t>(data[i / 5] << 1 | bit(group * kGroupBits + i));
    if (group > 0) out.data()[at++] = '-';
    for (uint8_t v : data) out.data()[at++] = static_cast<uint8_t>(kAlphabet[v]);
    out.data()[at++] = static_cast<uint8_t>(kAlphabet[check_value(group, data)]);
    wipe(data);
  }
  return out;
}

Result<void> parse_groups(std::string_view text, std::string_view what, MutableBytes bits) {
  const size_t groups = groups_for(bits.size());
  Secret group_chars(kDataChars + 1);
  uint8_t* chars = group_chars.data().data();
  size_t group = 0, in_group = 0, bits_read = 0;
  auto wrong = [&](std::string_view why) {
    return fail(Code::kInvalid, std::string(what) + ": group " + std::to_string(group + 1) + " " + std::string(why));
  };

  for (char c : text) {
    if (is_separator(c)) continue;
    if (group == groups)
      return fail(Code::kInvalid,
                  std::string(what) + ": more than " + std::to_string(groups) + " groups of 5 characters");
    int v = char_value(c);
    if (v < 0) return wrong("has a character that is not used");
    chars[in_group++] = static_cast<uint8_t>(v);
    if (in_group <= kDataChars) continue;

    if (check_value(group, chars) != chars[kDataChars]) return wrong("is mistyped");
    for (size_t i = 0; i < kGroupBits; ++i, ++bits_read) {
      int bit = (chars[i / 5] >> (4 - i % 5)) & 1;
      if (bits_read < 8 * bits.size()) {
        const uint8_t mask = static_cast<uint8_t>(1 << (7 - bits_read % 8));
        uint8_t& byte = bits[bits_read / 8];
        byte = static_cast<uint8_t>(bit != 0 ? byte | mask : byte & ~mask);
      } else if (bit != 0) {
        return wrong("is mistyped");  // spare bits
      }
    }
    in_group = 0;
    ++group;
  }
  if (group < groups) return wrong(in_group == 0 ? "is missing" : "is incomplete");
  return {};
}

}  // namespace coffer::internal
