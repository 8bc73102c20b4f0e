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

// Call it when the generations become a record, with the same arguments and what diff() made of them: adds what apply()
// would have left for others (remains.h), had it made these changes: the displaced versions of contents, those of before led
// to where their frames moved, and the tombstones of removed inodes as everybody knew them. It counts as part of `last`: it is undone with it. `rows` must not track; only tracked rows that
// exist are read, and H and V rows are walked. Until the next record is applied, nobody needs what this leaves: pending
// generations are either settled or undone before that.
Result<void> settle(Rows& rows, Generation first, Generation last, const Touched* newer, const ChangeSet& changes);

}  // namespace coffer::model
