#include "fs/cli/check_progress.h"

#include <fcntl.h>
#include <unistd.h>

#include <sstream>

#include "crypto/random.h"

namespace coffer::cli {
namespace {

constexpr size_t kMostBytes = 64 << 20;

}  // namespace

Outcome<CheckProgressFile> CheckProgressFile::open(const std::string& state_root, const VolumeId& volume,
                                                   unsigned sample, bool restart) {
  CheckProgressFile out;
  TRYV(make_directories(state_root + "/checks"));
  out.path_ = state_root + "/checks/" + volume.str();
  auto text = read_file(out.path_, kMostBytes);
  if (text && !restart) {
    std::istringstream lines{std::string(as_string(*text))};
    std::string word;
    unsigned version = 0, of_sample = 0;
    uint64_t seed = 0;
    if (lines >> word >> version >> of_sample >> seed && word == "coffer-check" && version == 1 &&
        of_sample == sample) {
      out.seed_ = seed;
      while (lines >> word)
        if (auto id = unhex(word); id && id->size() == ObjectId::kSize) out.verified_.insert(ObjectId::from(*id));
      auto file = open_file(out.path_, O_WRONLY | O_APPEND);
      if (file) out.file_ = std::move(*file);
      return out;
    }
  }
  out.seed_ = random_u64();
  const std::string first = "coffer-check 1 " + std::to_string(sample) + " " + std::to_string(out.seed_) + "\n";
  TRYV(write_file_durably(out.path_, as_bytes(first)));
  TRY(out.file_, open_file(out.path_, O_WRONLY | O_APPEND));
  return out;
}

void CheckProgressFile::add(const ObjectId& pack) {
  const std::string line = pack.str() + "\n";
  if (file_) (void)!::write(file_.get(), line.data(), line.size());
}

void CheckProgressFile::finish() { ::unlink(path_.c_str()); }

}  // namespace coffer::cli
