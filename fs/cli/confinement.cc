#include "fs/cli/confinement.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "base/fd.h"
#include "fs/cli/landlock_abi.h"
#include "fs/cli/system_call_filter.h"

namespace coffer::cli {
namespace {

std::vector<std::string> names_in(const char* directory) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory), ::closedir);
  if (!dir) return names;
  while (const dirent* entry = ::readdir(dir.get()))
    if (std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..")
      names.push_back(entry->d_name);
  return names;
}

// What a program needs to run, wherever a distribution keeps it: libraries, certificates, how names are looked up.
std::vector<std::string> system_directories() {
  std::vector<std::string> people = {"home", "root", "media", "mnt", "srv", "tmp"};
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    std::string path = home + 1;
    people.push_back(path.substr(0, path.find('/')));
  }
  std::vector<std::string> out;
  for (const std::string& name : names_in("/"))
    if (std::find(people.begin(), people.end(), name) == people.end()) out.push_back("/" + name);
  return out;
}

class Ruleset {
 public:
  static Outcome<Ruleset> make(int abi) {
    Ruleset r;
    r.handled_ = landlock::files_of(abi);
    landlock::RulesetAttributes attributes{};
    attributes.files = r.handled_;
    if (abi >= 4) attributes.network = landlock::kBindTcp;
    if (abi >= 6) attributes.scopes = landlock::kAbstractSockets | landlock::kSignals;
    size_t size = abi >= 6 ? sizeof attributes : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    r.fd_ = Fd(static_cast<int>(::syscall(landlock::kCreateRuleset, &attributes, size, 0)));
    if (!r.fd_) return give_up(Failure(errno_error("landlock_create_ruleset", errno)));
    return r;
  }

  // A place that is not there, or may not be seen by us, is no place that we need.
  Outcome<void> allow(const std::string& path, uint64_t what) {
    Fd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat st;
    if (!place || ::fstat(place.get(), &st) != 0) return {};
    if (!S_ISDIR(st.st_mode)) what &= landlock::kOfFiles;
    landlock::PathBeneath rule{what & handled_, place.get()};
    if (::syscall(landlock::kAddRule, fd_.get(), landlock::kRulePathBeneath, &rule, 0) != 0)
      return give_up(Failure(errno_error("landlock_add_rule", errno)));
    return {};
  }

  Outcome<void> enter() {
    if (::syscall(landlock::kRestrictSelf, fd_.get(), 0) == 0) return {};
    return give_up(Failure(errno_error("landlock_restrict_self", errno)));
  }

 private:
  Fd fd_;
  uint64_t handled_ = 0;
};

Outcome<void> confine_files(const Needs& needs, int abi) {
  TRY(Ruleset rules, Ruleset::make(abi));
  for (const std::string& path : system_directories()) TRYV(rules.allow(path, landlock::kRead));
  for (const std::string& path : needs.read) TRYV(rules.allow(path, landlock::kRead));
  for (const std::string& path : needs.write) TRYV(rules.allow(path, landlock::kRead | landlock::kWrite));
  TRYV(rules.allow("/dev/null", landlock::kRead | landlock::kWrite));
  return rules.enter();
}

}  // namespace

Outcome<Confinement> confine(const Needs& needs) {
  // Landlock holds for the thread that asks for it, and for what that one starts.
  if (names_in("/proc/self/task").size() > 1) return give_up(Exit::kGeneral, "confined too late: there are threads");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return give_up(Failure(errno_error("prctl(PR_SET_NO_NEW_PRIVS)", errno)));
  Confinement out;
  long abi = ::syscall(landlock::kCreateRuleset, nullptr, 0, landlock::kVersion);
  if (needs.programs) {
    out.why_not_files = "programs of the user's choice are started for the store's credentials";
  } else if (abi < 1) {
    out.why_not_files = "this kernel has no Landlock";
  } else {
    TRYV(confine_files(needs, static_cast<int>(abi)));
    out.files = true;
  }
  TRY(out.system_calls, filter_system_calls(needs.programs));
  return out;
}

}  // namespace coffer::cli
