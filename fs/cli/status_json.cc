#include "fs/cli/status_json.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "fs/cli/format.h"
#include "remote/url.h"

namespace coffer::cli {
namespace {

using nlohmann::json;

json time_or_null(const std::optional<WallTime>& t) { return t ? json(format_time(*t)) : json(nullptr); }

// `t` is another device's word, and may be any time.
double age_seconds(WallTime t, WallTime now) { return (static_cast<double>(now.ns) - static_cast<double>(t.ns)) / 1e9; }

uint64_t number(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
}

double real(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_number() ? it->get<double>() : 0;
}

// Names and messages may come from other devices and from servers: only what is harmless on a terminal.
std::string text(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_string() ? printable(it->get<std::string>(), 1000) : "";
}

bool flag(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

const json& array(const json& object, const char* name) {
  static const json kNone = json::array();
  auto it = object.find(name);
  return it != object.end() && it->is_array() ? *it : kNone;
}

std::string line(const char* name, const std::string& value) {
  std::string padded = name;
  padded.resize(12, ' ');
  return padded + value + "\n";
}

std::string waiting_text(const json& status) {
  auto waiting = status.find("waiting");
  uint64_t bytes = 0, files = 0;
  if (waiting != status.end() && waiting->is_object()) {
    bytes = number(*waiting, "bytes");
    files = number(*waiting, "files");
  }
  if (bytes == 0 && files == 0) return "nothing: all is in the store";
  std::string out = format_bytes(bytes) + " in " + format_count(files, "file", "files");
  double rate = real(status, "upload_rate");
  if (rate > 0) out += ", " + format_rate(rate) + ", " + format_duration(static_cast<double>(bytes) / rate) + " left";
  return out;
}

std::string device_text(const json& device) {
  std::string out = text(device, "name");
  out += flag(device, "self") ? " (this one)" : "";
  double age = real(device, "age_seconds");
  if (auto it = device.find("age_seconds"); it != device.end() && it->is_number())
    out += ", last record " + format_duration(age) + " ago";
  if (flag(device, "revoked"))
    out += ", revoked";
  else if (flag(device, "silent"))
    out += ", not waited for any more";
  return out;
}

std::string sum_text(const json& collection, const char* name) {
  auto sum = collection.find(name);
  if (sum == collection.end() || !sum->is_object()) return "nothing";
  return format_count(number(*sum, "objects"), "object", "objects") + ", " + format_bytes(number(*sum, "bytes"));
}

bool is_none(const json& collection, const char* name) {
  auto sum = collection.find(name);
  return sum == collection.end() || !sum->is_object() || number(*sum, "objects") == 0;
}

}  // namespace

json collection_json(const Collection& c) {
  auto sum = [](const Collection::Sum& s) { return json{{"objects", s.objects}, {"bytes", s.bytes}}; };
  return {{"when", format_time(c.when)}, {"live", sum(c.live)},         {"freed", sum(c.freed)},
          {"waiting", sum(c.waiting)},   {"archived", sum(c.archived)}, {"single", sum(c.single)},
          {"unknown", sum(c.unknown)}};
}

json rewriting_json(const std::optional<Rewriting>& r) {
  static constexpr const char* kPhases[] = {"waiting", "looking", "sealing", "checkpoint", "done"};
  if (!r) return nullptr;
  return {{"phase", kPhases[static_cast<int>(r->phase)]},
          {"epoch", r->epoch},
          {"asked", format_time(r->asked)},
          {"finished", time_or_null(r->finished)},
          {"done_bytes", r->done_bytes},
          {"left_bytes", r->counted ? json(r->left_bytes) : json(nullptr)},
          {"unreadable_bytes", r->stuck_bytes}};
}

Failure collect_failure(const Error& error) {
  Failure failure(error);
  if (error.code() == Code::kBusy)
    failure.todo =
        "Nothing was deleted. A mounted device acknowledges what it has seen within the hour, and when it "
        "publishes or is unmounted; then try again.";
  return failure;
}

std::string collection_text(const json& c, bool dry_run) {
  std::string out = line(dry_run ? "would free" : "freed", sum_text(c, "freed"));
  if (!is_none(c, "waiting"))
    out += line("waiting", sum_text(c, "waiting") + ": needed no more, but not for long enough");
  out += line("in use", sum_text(c, "live"));
  if (!is_none(c, "archived")) out += line("archived", sum_text(c, "archived") + ": old records, put together");
  if (!is_none(c, "single"))
    out += line("deleted", sum_text(c, "single") + ": records that archives have had for long");
  if (!is_none(c, "unknown"))
    out +=
        line("unknown", sum_text(c, "unknown") + ": of work that never came to its end, or not coffer's; left alone");
  return out;
}

std::string rewriting_text(const json& r) {
  const std::string phase = text(r, "phase");
  if (phase == "done") return "all data is under the new keys since " + text(r, "finished");
  std::string out = phase == "waiting"   ? "waiting for the new keys, or to try again"
                    : phase == "looking" ? "looking for what is under older keys"
                    : phase == "sealing" ? "sealing old data under the new keys"
                                         : "waiting to write a checkpoint: others have to acknowledge first";
  if (auto left = r.find("left_bytes"); left != r.end() && left->is_number() && phase != "checkpoint")
    out += "; " + format_bytes(number(r, "left_bytes")) + " left";
  if (uint64_t stuck = number(r, "unreadable_bytes"); stuck > 0)
    out += ", of which " + format_bytes(stuck) + " cannot be read";
  return out;
}

json device_json(const DeviceStatus& d, WallTime now) {
  json out = {{"name", d.name},
              {"device", d.device.str()},
              {"log", d.log.str()},
              {"number", d.number},
              {"when", format_time(d.when)},
              {"age_seconds", age_seconds(d.when, now)},
              {"self", d.self},
              {"since", time_or_null(d.since)},
              {"let_in_by", d.let_in_by ? json(d.let_in_by->str()) : json(nullptr)},
              {"runs", d.runs},
              {"records", d.records},
              {"silent", d.silent},
              {"revoked", d.revoked}};
  if (d.number == 0) out["when"] = out["age_seconds"] = nullptr;
  return out;
}

json status_json(const SyncStatus& s, WallTime now) {
  json devices = json::array();
  for (const DeviceStatus& d : s.devices) devices.push_back(device_json(d, now));
  json problems = json::array();
  for (const Problem& p : s.problems)
    problems.push_back({{"what", p.what}, {"todo", p.todo}, {"since", format_time(p.since)}});
  json not_here_yet = json::array();
  for (const Problem& p : s.not_here_yet) not_here_yet.push_back({{"what", p.what}, {"since", format_time(p.since)}});
  return {{"online", s.online},
          {"waiting", {{"bytes", s.waiting_bytes}, {"files", s.waiting_files}}},
          {"uploaded_bytes", s.uploaded_bytes},
          {"upload_rate", std::isfinite(s.upload_rate) ? s.upload_rate : 0.0},
          {"last_published", time_or_null(s.last_published)},
          {"last_news_check", time_or_null(s.last_news_check)},
          {"news_incomplete", s.news_incomplete},
          {"state_parts", {{"all", s.parts}, {"missing", s.parts_missing}}},
          {"devices", devices},
          {"conflicts", s.conflicts},
          {"rewriting", rewriting_json(s.rewriting)},
          {"last_gc", s.last_collection ? collection_json(*s.last_collection) : json(nullptr)},
          {"not_here_yet", not_here_yet},
          {"problems", problems}};
}

json counters_json(const StoreCounters& c) {
  return {{"put", c.put},     {"get", c.get},         {"list", c.list},         {"remove", c.remove},
          {"other", c.other}, {"retries", c.retries}, {"bytes_up", c.bytes_up}, {"bytes_down", c.bytes_down}};
}

json counters_json(const ReplicaCounters& c) {
  return {{"pending_files", c.pending_files}, {"pending_bytes", c.pending_bytes}, {"dirty_bytes", c.dirty_bytes},
          {"journal_syncs", c.journal_syncs}, {"pack_syncs", c.pack_syncs},       {"disk_bytes", c.disk_bytes}};
}

json cache_json(const ReplicaCounters& c) {
  return {{"bytes", c.disk_bytes},
          {"limit", c.cache_limit > 0 ? json(c.cache_limit) : json(nullptr)},
          {"disk_full", c.disk_full}};
}

json counters_json(const std::vector<UpcallCount>& counts) {
  json out = json::object();
  for (const UpcallCount& c : counts) out[c.operation] = {{"calls", c.calls}, {"cpu_ns", c.cpu_ns}};
  return out;
}

json confinement_json(const Confinement& c) {
  json out = {{"no_new_privileges", true}, {"system_calls", c.system_calls}, {"files", c.files}};
  if (!c.files) out["why_not_files"] = c.why_not_files;
  return out;
}

std::string confinement_text(const json& c) {
  std::string out = flag(c, "system_calls") ? "system calls" : "not in its system calls";
  out += flag(c, "files") ? ", files" : ", not in its files: " + text(c, "why_not_files");
  return out;
}

std::string devices_text(const json& devices) {
  std::vector<std::string> ids;
  std::map<std::string, std::string> names;
  size_t digits = kShortId, longest = sizeof "NAME" - 1;
  for (const json& d : devices) {
    if (!d.is_object()) continue;
    ids.push_back(text(d, "device"));
    names[ids.back()] = text(d, "name");
    longest = std::max(longest, text(d, "name").size());
  }
  auto alike = [&] {
    std::set<std::string> shown;
    return !std::ranges::all_of(ids, [&](const std::string& id) { return shown.insert(id.substr(0, digits)).second; });
  };
  while (digits < 2 * DeviceId::kSize && alike()) ++digits;
  auto row = [&](const std::string& id, const std::string& name, const std::string& since, const std::string& wrote,
                 const std::string& record, const std::string& runs, const std::string& remark) {
    auto padded = [](std::string cell, size_t width) {
      cell.resize(std::max(cell.size(), width), ' ');
      return cell + "  ";
    };
    return padded(id, digits) + padded(name, longest) + padded(since, 20) + padded(wrote, 20) + padded(record, 7) +
           runs + remark + "\n";
  };
  std::string out = row("ID", "NAME", "SINCE", "LAST WROTE", "RECORDS", "RUNS", "");
  for (const json& d : devices) {
    if (!d.is_object()) continue;
    std::string remark = flag(d, "self") ? "  [this one]" : "";
    if (std::string by = text(d, "let_in_by"); !by.empty())
      remark += "  let in by " + (names.contains(by) ? names[by] : by.substr(0, digits));
    if (flag(d, "revoked")) remark += "  [revoked]";
    auto or_dash = [&d](const char* name) { return text(d, name).empty() ? "-" : text(d, name); };
    out += row(text(d, "device").substr(0, digits), text(d, "name"), or_dash("since"), or_dash("when"),
               std::to_string(number(d, "records")), std::to_string(number(d, "runs")), remark);
  }
  return out;
}

std::string status_text(const json& s) {
  std::string out =
      line("mount", text(s, "mount") + (text(s, "state") == "mounted" ? "" : " (" + text(s, "state") + ")"));
  out += line("store", text(s, "store") + (flag(s, "online") ? "" : " (not reached)"));
  out += line("waiting", waiting_text(s));
  if (auto cache = s.find("cache"); cache != s.end() && cache->is_object()) {
    uint64_t limit = number(*cache, "limit");
    out += line("cache", format_bytes(number(*cache, "bytes")) + " on this disk, " +
                             (limit > 0 ? "limited to " + format_bytes(limit) : "without a limit of its own"));
  }
  out += line("uploaded", format_bytes(number(s, "uploaded_bytes")) + " since the mount");
  if (std::string t = text(s, "last_published"); !t.empty()) out += line("published", t);
  if (std::string t = text(s, "last_news_check"); !t.empty())
    out += line("news", "looked for at " + t +
                            (flag(s, "news_incomplete") ? "; more is announced that is not to be had yet" : ""));
  if (auto p = s.find("state_parts"); p != s.end() && p->is_object() && number(*p, "all") > 0)
    out += line("state", std::to_string(number(*p, "all") - number(*p, "missing")) + " of " +
                             std::to_string(number(*p, "all")) +
                             " parts of it are here; the rest comes when it is needed, "
                             "and by itself");
  if (auto c = s.find("confined"); c != s.end() && c->is_object() && !(flag(*c, "files") && flag(*c, "system_calls")))
    out += line("confined", confinement_text(*c));
  bool first = true;
  for (const json& d : array(s, "devices")) {
    if (!d.is_object()) continue;
    out += line(first ? "devices" : "", device_text(d));
    first = false;
  }
  if (auto gc = s.find("last_gc"); gc != s.end() && gc->is_object())
    out += line("gc", "freed " + sum_text(*gc, "freed") + " at " + text(*gc, "when"));
  if (auto r = s.find("rewriting"); r != s.end() && r->is_object()) out += line("rewriting", rewriting_text(*r));
  if (uint64_t n = number(s, "conflicts"); n != 0)
    out += line("conflicts", format_count(n, "conflict copy", "conflict copies") + " made since the mount");
  for (const json& p : array(s, "not_here_yet"))
    if (p.is_object()) out += line("late", text(p, "what") + ": not here yet (since " + text(p, "since") + ")");
  for (const json& p : array(s, "problems")) {
    if (!p.is_object()) continue;
    out += line("problem", text(p, "what") + " (since " + text(p, "since") + ")");
    if (std::string todo = text(p, "todo"); !todo.empty()) out += line("", todo);
  }
  return out;
}

}  // namespace coffer::cli
