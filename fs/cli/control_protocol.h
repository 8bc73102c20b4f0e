// What the program and its daemon say to each other over the control socket: JSON, one object a line.
//
//   request   {"op":"status"} | {"op":"sync"} | {"op":"unmount","now":false,"lazy":false} | {"op":"hurry"}
//             | {"op":"collect","grace_seconds":2592000,"list_objects":true,"dry_run":false}
//             | {"op":"let_in","code":"..."} | {"op":"rewrite","epoch":N}
//   reply     {"progress":{...}}...  then  {"result":{...}}  or  {"failure":{"exit":5,"what":"...","todo":"..."}}
//
// "hurry" may follow an "unmount" on the same connection: leave for later what is not up yet. Closing the connection
// ends a sync, a collection, and an unmount that has not come to unmounting; a rewriting goes on unseen.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>

#include "fs/cli/failure.h"
#include "fs/cli/progress.h"
#include "fs/sync/synchronizer.h"

namespace coffer::cli {

inline constexpr size_t kRequestMax = 4 << 10;  // bytes of a line
inline constexpr size_t kReplyMax = 8 << 20;

struct Request {
  enum class Op { kStatus, kSync, kUnmount, kHurry, kCollect, kLetIn, kRewrite };
  Op op = Op::kStatus;
  bool now = false, lazy = false;  // unmount
  CollectOptions collect = {};
  std::string code = {};  // let_in: of the new device
  Epoch epoch = 0;        // rewrite: under which, or a later one, everything is to be; 0: under the newest
};

using Reply = std::variant<ProgressSample, nlohmann::json, Failure>;

std::string encode(const Request& request);
// kUsage for anything but a request; never throws.
Outcome<Request> decode_request(const std::string& line);

std::string encode_progress(const ProgressSample& sample);
std::string encode_result(const nlohmann::json& result);
std::string encode_failure(const Failure& failure);
// kGeneral when the daemon says something that makes no sense.
Outcome<Reply> decode_reply(const std::string& line);

}  // namespace coffer::cli
