// A state in words, a line for each thing: without what is one machine's alone (cookies, where extents are, what is unlinked
// and open), with what serves for applying changes of others.
#pragma once

#include <set>
#include <string>

#include "tests/model/map_rows.h"

namespace coffer::model {

std::set<std::string> in_words(const MapRows& rows);

}  // namespace coffer::model
