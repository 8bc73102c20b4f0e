// The statement at the end of a key slot (laid out in crypto/slot.h). Internal to this layer.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/keys.h"
#include "crypto/slot.h"

namespace coffer::internal {

inline constexpr size_t kNoteSize = 192;
inline constexpr size_t kStatementSize = 4 + kNoteSize + kSealOverhead + Signature::kSize;

// `object` is a whole slot but for its statement; `secrets` are complete, and the note's texts valid.
void append_statement(Bytes& object, const ObjectId& slot, const VolumeSecrets& secrets, const SlotNote& note);

// Of an object, or a statement, of the right size.
bool statement_holds(BytesView object, const VolumeId& volume, const PublicKey& signing_public);
Epoch statement_epoch(BytesView statement);
Result<SlotNote> open_note(BytesView statement, const ObjectId& slot, const VolumeSecrets& secrets);

}  // namespace coffer::internal
