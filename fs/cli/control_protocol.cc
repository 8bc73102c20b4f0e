#include "fs/cli/control_protocol.h"

#include <algorithm>
#include <cmath>

namespace coffer::cli {
namespace {

using nlohmann::json;

constexpr uint64_t kGraceMax = uint64_t{3650} * 86400;  // seconds
constexpr const char* kOps[] = {"status", "sync", "unmount", "hurry", "collect", "let_in", "rewrite"};

// Text that is not UTF-8 (a device's name, say) must not end the program.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

bool flag(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

uint64_t number(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
}

std::string text(const json& object, const char* name) {
  auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

ProgressSample progress_from(const json& object) {
  ProgressSample s;
  s.done_bytes = number(object, "done_bytes");
  s.total_bytes = number(object, "total_bytes");
  s.waiting_files = number(object, "waiting_files");
  if (auto rate = object.find("rate"); rate != object.end() && rate->is_number()) s.rate = rate->get<double>();
  s.online = flag(object, "online");
  s.trouble = text(object, "trouble");
  return s;
}

}  // namespace

std::string encode(const Request& request) {
  json object = {{"op", kOps[static_cast<int>(request.op)]}};
  if (request.op == Request::Op::kUnmount) {
    object["now"] = request.now;
    object["lazy"] = request.lazy;
  }
  if (request.op == Request::Op::kCollect) {
    using std::chrono::seconds;
    object["grace_seconds"] = static_cast<uint64_t>(std::chrono::duration_cast<seconds>(request.collect.grace).count());
    object["list_objects"] = request.collect.list_objects;
    object["dry_run"] = request.collect.dry_run;
  }
  if (request.op == Request::Op::kLetIn) object["code"] = request.code;
  if (request.op == Request::Op::kRewrite) object["epoch"] = request.epoch;
  return dump(object);
}

Outcome<Request> decode_request(const std::string& line) {
  json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return give_up(Exit::kUsage, "a request is a JSON object");
  std::string op = text(object, "op");
  for (size_t i = 0; i < std::size(kOps); ++i) {
    if (op != kOps[i]) continue;
    Request request{static_cast<Request::Op>(i), flag(object, "now"), flag(object, "lazy"), {}, text(object, "code")};
    request.epoch = static_cast<Epoch>(std::min<uint64_t>(number(object, "epoch"), UINT32_MAX));
    request.collect.list_objects = flag(object, "list_objects");
    request.collect.dry_run = flag(object, "dry_run");
    // Whoever gives none, or one that makes no sense, gets the usual one.
    auto grace = object.find("grace_seconds");
    if (grace != object.end() && grace->is_number_unsigned() && grace->get<uint64_t>() <= kGraceMax)
      request.collect.grace = std::chrono::seconds(grace->get<uint64_t>());
    return request;
  }
  return give_up(Exit::kUsage, "no such request");
}

std::string encode_progress(const ProgressSample& s) {
  return dump({{"progress",
                {{"done_bytes", s.done_bytes},
                 {"total_bytes", s.total_bytes},
                 {"waiting_files", s.waiting_files},
                 {"rate", std::isfinite(s.rate) ? s.rate : 0.0},
                 {"online", s.online},
                 {"trouble", s.trouble}}}});
}

std::string encode_result(const json& result) { return dump({{"result", result}}); }

std::string encode_failure(const Failure& failure) {
  return dump(
      {{"failure", {{"exit", static_cast<int>(failure.exit)}, {"what", failure.what}, {"todo", failure.todo}}}});
}

Outcome<Reply> decode_reply(const std::string& line) {
  json object = json::parse(line, nullptr, false);
  if (object.is_object()) {
    if (auto p = object.find("progress"); p != object.end() && p->is_object()) return progress_from(*p);
    if (auto r = object.find("result"); r != object.end() && r->is_object()) return *r;
    if (auto f = object.find("failure"); f != object.end() && f->is_object()) {
      uint64_t exit = number(*f, "exit");
      if (exit == 0 || exit > static_cast<uint64_t>(Exit::kDamaged)) exit = static_cast<uint64_t>(Exit::kGeneral);
      return Failure(static_cast<Exit>(exit), text(*f, "what"), text(*f, "todo"));
    }
  }
  return give_up(Exit::kGeneral, "the daemon answered something that makes no sense");
}

}  // namespace coffer::cli
