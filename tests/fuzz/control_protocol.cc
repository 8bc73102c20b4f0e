// The control socket, from both sides, and the status that goes over it.
#include "fs/cli/control_protocol.h"

#include "fs/cli/status_json.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {

void run(BytesView input) {
  using namespace cli;
  std::string line(as_string(input));
  if (auto request = decode_request(line)) {
    auto again = decode_request(encode(*request));
    require(again && again->op == request->op, "a request comes back");
  }
  auto reply = decode_reply(line);
  if (!reply) return;
  if (const auto* sample = std::get_if<ProgressSample>(&*reply))
    require(decode_reply(encode_progress(*sample)).has_value(), "progress comes back");
  if (const auto* failure = std::get_if<Failure>(&*reply))
    require(decode_reply(encode_failure(*failure)).has_value(), "a failure comes back");
  if (const auto* result = std::get_if<nlohmann::json>(&*reply)) {
    (void)encode_result(*result);
    for (char c : status_text(*result))
      require(c == '\n' || (c >= 0x20 && c < 0x7f), "status shows nothing that a terminal obeys");
  }
}

}  // namespace coffer::fuzz
