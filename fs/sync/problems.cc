#include "fs/sync/problems.h"

#include <algorithm>

#include "remote/server_answer.h"

namespace coffer {

void Problems::set(const std::string& key, std::string what, std::string todo) {
  MutexLock lock(mutex_);
  auto [it, fresh] = problems_.try_emplace(key);
  if (fresh) it->second.since = clock_.wall();
  it->second.what = std::move(what);
  it->second.todo = std::move(todo);
}

void Problems::clear(const std::string& key) {
  MutexLock lock(mutex_);
  problems_.erase(key);
}

std::vector<Problem> Problems::list() const {
  MutexLock lock(mutex_);
  std::vector<Problem> out;
  for (const auto& [key, problem] : problems_) out.push_back(problem);
  std::sort(out.begin(), out.end(), [](const Problem& a, const Problem& b) { return a.since < b.since; });
  if (out.size() > kMost) {
    size_t more = out.size() - kMost;
    out.resize(kMost);
    out.back().what += " (and " + std::to_string(more) + " more problems)";
  }
  return out;
}

std::string store_advice(const Error& error) {
  const auto status = answered_status(error);
  switch (error.code()) {
    case Code::kDenied:
      return "The store refuses the credentials, or they do not allow this: check them where they come from "
             "(environment, AWS files, netrc) and the bucket's or server's rights. coffer tries again by itself.";
    case Code::kUntrusted:
      return "The server's certificate does not verify: check the address and the clock, or name its authority with "
             "--ca-file. If it worked before, somebody may be in between: do not override it.";
    case Code::kNoSpace:
      return "The store is full or its quota is reached: make room there. Your work is kept here until then.";
    case Code::kInvalid:
      return "The store's address or settings cannot work as they are: check STORE and the options.";
    case Code::kUnavailable:
    case Code::kTimedOut:
      if (status == 429)
        return "The server wants fewer requests: lower --upload-limit and --download-limit, or close other programs "
               "that use the account, if it stays. Work goes on here, and coffer tries again ever more seldom.";
      if (status)
        return "The server is there, and has trouble of its own: its operator can say more. Work goes on here, and "
               "coffer keeps trying.";
      return "Check the network, or the disk if the store is a directory. Work goes on here, and coffer keeps trying.";
    default:
      return "The server answers in a way that coffer does not expect: check that STORE names what it should. coffer "
             "keeps trying; if it stays, the server's own log says more.";
  }
}

std::string disk_advice(Code code) {
  if (code == Code::kNoSpace) return "The local disk is full: make room. Nothing is lost; publishing goes on then.";
  return "The local disk or state directory has a fault: check the system log and the disk.";
}

}  // namespace coffer
