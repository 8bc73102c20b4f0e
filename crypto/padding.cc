#include "crypto/padding.h"

#include <bit>
#include <limits>

namespace coffer {

size_t padded_size(size_t size) {
  if (size <= kPaddingFloor) return kPaddingFloor;
  // The exponent E of the size takes S bits to write; the mantissa keeps as many, so the E - S bits below are cleared
  // upward.
  int exponent = std::bit_width(size) - 1;
  int kept = std::bit_width(static_cast<size_t>(exponent));
  size_t mask = (size_t{1} << (exponent - kept)) - 1;
  if (size > std::numeric_limits<size_t>::max() - mask) return size;  // no larger size to hide among
  return (size + mask) & ~mask;
}

}  // namespace coffer
