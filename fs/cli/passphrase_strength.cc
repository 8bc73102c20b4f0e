#include "fs/cli/passphrase_strength.h"

#include <zxcvbn.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>

namespace coffer::cli {
namespace {

constexpr size_t kLookedAt = 100;

using Parts = std::unique_ptr<ZxcMatch_t, void (*)(ZxcMatch_t*)>;

struct Estimate {
  double bits;
  Parts parts;
};

Estimate estimate(const Secret& passphrase) {
  Secret text(kLookedAt + 1);  // with a zero at its end
  size_t size = std::min(passphrase.size(), kLookedAt);
  if (size != 0) std::memcpy(text.data().data(), passphrase.view().data(), size);
  const char* ours[] = {"coffer", "passphrase", nullptr};
  ZxcMatch_t* parts = nullptr;
  double bits = ZxcvbnMatch(reinterpret_cast<const char*>(text.view().data()), ours, &parts);
  return {bits, Parts(parts, ZxcvbnFreeInfo)};
}

const char* kind_name(int type) {
  switch (type & ~MULTIPLE_MATCH) {
    case DICTIONARY_MATCH:
    case DICT_LEET_MATCH:
    case USER_MATCH:
    case USER_LEET_MATCH:
      return "common words or names";
    case REPEATS_MATCH:
      return "repetitions";
    case SEQUENCE_MATCH:
      return "sequences";
    case SPATIAL_MATCH:
      return "neighbouring keys";
    case DATE_MATCH:
    case YEAR_MATCH:
      return "dates";
    default:
      return nullptr;
  }
}

}  // namespace

double passphrase_bits(const Secret& passphrase) { return estimate(passphrase).bits; }

Outcome<void> check_new_passphrase(const Secret& passphrase) {
  Estimate e = estimate(passphrase);
  if (e.bits >= kLeastPassphraseBits) return {};
  std::string made_of;
  for (const ZxcMatch_t* part = e.parts.get(); part != nullptr; part = part->Next) {
    const char* name = kind_name(part->Type);
    if (name == nullptr || made_of.find(name) != std::string::npos) continue;
    made_of += (made_of.empty() ? " It has " : ", ") + std::string(name);
  }
  return give_up(
      Exit::kUsage,
      "this passphrase is too easy to guess: about 2^" + std::to_string(std::lround(e.bits)) +
          " tries find it, and the least is 2^" + std::to_string(std::lround(kLeastPassphraseBits)) + "." + made_of,
      "Five or six words that were drawn at random, say by dice, are easy to keep in mind and hard to guess.");
}

}  // namespace coffer::cli
