// Frames that were sealed anew (Move): a step of apply().
#pragma once

#include <vector>

#include "base/rows.h"
#include "fs/model/change_set.h"

namespace coffer::model {

// Well-formed moves. What is removed, or shows none of the frames there, stays as it is. All known versions of a file are led to
// the new places alike, so which of them are equal does not change.
Result<void> move_frames(Rows& rows, const std::vector<Move>& moves);

}  // namespace coffer::model
