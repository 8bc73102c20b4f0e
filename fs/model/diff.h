// Makes a ChangeSet out of generations: the difference between their before-images and the rows at the end of the last.
#pragma once

#include <optional>

#include "fs/model/change_set.h"
#include "fs/model/history.h"

namespace coffer::model {

// What generations first..last (all frozen, adjacent) did together. `newer` is the generation after `last` when it has
// changed rows already: where it touched a row, its before-image is what the row was at the end of `last`.
// Unlinked-but-open inodes count as removed, or as never made.
Result<ChangeSet> diff(const ReadRows& rows, Generation first, Generation last, const Touched* newer);

}  // namespace coffer::model
