#include "tests/sim/versions.h"

namespace coffer::sim {

void Versions::acknowledged(const Hash& version, unsigned machine, Nanos when, std::string name) {
  acknowledgements_.push_back({version, machine, when, std::move(name)});
}

void Versions::published(unsigned machine, Nanos when) {
  for (Acknowledgement& a : acknowledgements_)
    if (a.machine == machine && a.when <= when) a.sent = true;
}

void Versions::restored(unsigned machine, Nanos when) {
  for (Acknowledgement& a : acknowledgements_)
    if (a.machine == machine && a.when >= when && !a.sent) a.excused = true;
}

bool Versions::accounted_for(const Hash& version, const std::set<Hash>& live, std::set<Hash>& seen) const {
  if (live.contains(version)) return true;
  if (auto removed = removed_.find(version); removed != removed_.end() && removed->second > 0) return true;
  if (!seen.insert(version).second) return false;
  auto next = replaced_by_.find(version);
  if (next == replaced_by_.end()) return false;
  for (const Hash& by : next->second)
    if (accounted_for(by, live, seen)) return true;
  return false;
}

std::vector<std::string> Versions::lost(const std::set<Hash>& live) const {
  std::vector<std::string> out;
  for (const Acknowledgement& a : acknowledgements_) {
    std::set<Hash> seen;
    if (!a.excused && !accounted_for(a.version, live, seen))
      out.push_back("machine " + std::to_string(a.machine) + " had fsynced " + a.version.str().substr(0, 12) + " as " +
                    a.name);
  }
  return out;
}

}  // namespace coffer::sim
