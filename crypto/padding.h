// Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019):
// lengths keep only as many leading bits as leaves O(log log L) bits of information, at under 12 % overhead.
#pragma once

#include <cstddef>

namespace coffer {

inline constexpr size_t kPaddingFloor = 4096;  // smaller things all look alike

// The padded size of an object of `size` bytes: >= size, >= kPaddingFloor.
size_t padded_size(size_t size);

}  // namespace coffer
