// What may be printed on a terminal.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <string>

#include "fs/model/types.h"
#include "remote/url.h"

namespace coffer::cli {

// A name that ends up on a terminal must not command it.
inline std::string shown_name(const std::string& name) {
  return ::isatty(STDOUT_FILENO) ? printable(name, 4 * model::kNameMax) : name;
}

}  // namespace coffer::cli
