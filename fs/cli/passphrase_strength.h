// How hard a new passphrase is to guess, by zxcvbn: the tries that a patient attacker needs who knows words, names, keyboards,
// dates and habits, not the mere number of characters.
#pragma once

#include "crypto/secret.h"
#include "fs/cli/failure.h"

namespace coffer::cli {

// With Argon2id at 256 MiB and three passes, a try costs about a second of one core; 2^40 are tens of thousands of years of
// one, and out of reach of who has a few machines. What a slot is worth to whom is the person's to know.
inline constexpr double kLeastPassphraseBits = 40;

// log2 of the tries. What goes beyond the first 100 bytes is not looked at.
double passphrase_bits(const Secret& passphrase);
// kUsage with what would help, when it is below kLeastPassphraseBits. Tells nothing of the passphrase but kinds of parts.
Outcome<void> check_new_passphrase(const Secret& passphrase);

}  // namespace coffer::cli
