// Frames that were sealed anew (Move): a step of apply(), and what settle() has left to do of it.
#pragma once

#include <vector>

#include "base/rows.h"
#include "fs/model/change_set.h"

namespace coffer::model {

// Well-formed moves. What is removed, or shows none of the frames there, stays as it is. All known versions of a file are led to
// the new places alike, so which of them are equal does not change.
//
// They are led there, although nothing but late changes asks for the former ones and the next pass would find what these bring
// back: a former version has rows of its own for the chunks only that were changed since, and shares the others with the present.
// If its own stayed behind, which frames it shows, and so which versions are equal, would depend on where chunks begin.
Result<void> move_frames(Rows& rows, const std::vector<Move>& moves);

// The same for the former versions alone, at the author, whose present contents moved before. The files need not be there any
// more; they were when the moves began.
Result<void> move_displaced(Rows& rows, const std::vector<Move>& moves);

}  // namespace coffer::model
