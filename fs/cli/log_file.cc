#include "fs/cli/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace coffer::cli {

Result<Fd> open_log(const std::string& directory) {
  std::string path = directory + "/log";
  TRY(Fd log, open_file(path, O_WRONLY | O_CREAT | O_APPEND));
  TRY(uint64_t size, file_size(log));
  if (size <= kLogMax) return log;
  if (std::rename(path.c_str(), (path + ".1").c_str()) != 0) return log;
  return open_file(path, O_WRONLY | O_CREAT | O_APPEND);
}

void turn_log(const std::string& directory) {
  off_t size = ::lseek(STDERR_FILENO, 0, SEEK_END);
  if (size < 0 || static_cast<uint64_t>(size) <= kLogMax) return;
  // dup2 changes the file under a running log_line in one step: no line is lost or cut.
  if (auto log = open_log(directory)) ::dup2(log->get(), STDERR_FILENO);
}

}  // namespace coffer::cli
