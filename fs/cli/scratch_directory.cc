#include "fs/cli/scratch_directory.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/log.h"

namespace coffer::cli {

Outcome<ScratchDirectory> ScratchDirectory::make() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base != nullptr && *base == '/' ? base : "/tmp") + "/coffer-read-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return give_up(Failure(errno_error(path, errno)));
  return ScratchDirectory(std::move(path));
}

ScratchDirectory::~ScratchDirectory() {
  if (path_.empty()) return;
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error) log_line(LogLevel::kWarning, "cannot remove " + path_ + ": " + error.message());
}

}  // namespace coffer::cli
