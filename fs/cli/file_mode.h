// Inodes as ls(1) and stat(2) know them.
#pragma once

#include <sys/types.h>

#include <string>

#include "fs/model/types.h"

namespace coffer::cli {

const char* type_name(model::FileType type);       // "file", "directory", ...
std::string mode_text(const model::Inode& inode);  // "-rw-r--r--"
mode_t mode_bits(const model::Inode& inode);       // S_IFREG | 0644

}  // namespace coffer::cli
