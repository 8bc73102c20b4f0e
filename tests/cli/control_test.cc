// Control protocol, server and socket, in one process.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "fs/cli/control_protocol.h"
#include "fs/cli/control_server.h"
#include "fs/cli/control_socket.h"
#include "fs/cli/line_channel.h"
#include "tests/cli/temporary.h"

namespace coffer::cli {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

TEST(ControlProtocol, RequestsComeBack) {
  for (Request r :
       {Request{Request::Op::kStatus}, Request{Request::Op::kSync}, Request{Request::Op::kUnmount, true, false},
        Request{Request::Op::kUnmount, false, true}, Request{Request::Op::kHurry},
        Request{Request::Op::kCollect, false, false, {std::chrono::hours(7), true, true}},
        Request{Request::Op::kLetIn, false, false, {}, "ABCDE-FGHIJ"},
        Request{Request::Op::kRewrite, false, false, {}, "", 0xfedcba98}}) {
    auto back = decode_request(encode(r));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->op, r.op);
    EXPECT_EQ(back->now, r.now);
    EXPECT_EQ(back->lazy, r.lazy);
    EXPECT_EQ(back->epoch, r.epoch);
    EXPECT_EQ(back->collect.grace, r.collect.grace);
    EXPECT_EQ(back->collect.list_objects, r.collect.list_objects);
    EXPECT_EQ(back->collect.dry_run, r.collect.dry_run);
    EXPECT_EQ(back->code, r.code);
  }
}

TEST(ControlProtocol, HostileRequestsAreRefused) {
  std::string deep(4000, '[');
  for (const std::string& line :
       {std::string(""), std::string("null"), std::string("[]"), std::string("{"), std::string("{\"op\":5}"),
        std::string("{\"op\":\"reboot\"}"), std::string("\xff\xfe"), deep, std::string(100, '\0')})
    EXPECT_FALSE(decode_request(line).has_value());
  auto odd = decode_request("{\"op\":\"unmount\",\"now\":\"yes\",\"lazy\":[1]}");
  ASSERT_TRUE(odd);
  EXPECT_FALSE(odd->now);
  for (const char* grace : {"-1", "\"0\"", "0.5", "18446744073709551615", "null"}) {
    auto collect = decode_request(std::string("{\"op\":\"collect\",\"grace_seconds\":") + grace + "}");
    ASSERT_TRUE(collect);
    EXPECT_EQ(collect->collect.grace, CollectOptions().grace) << grace;
  }
}

TEST(ControlProtocol, RepliesComeBack) {
  auto progress = decode_reply(encode_progress({1, 2, 3, 4.5, true, "slow"}));
  ASSERT_TRUE(progress);
  auto& sample = std::get<ProgressSample>(*progress);
  EXPECT_EQ(sample.done_bytes, 1u);
  EXPECT_EQ(sample.trouble, "slow");
  EXPECT_EQ(sample.rate, 4.5);
  auto result = decode_reply(encode_result({{"a", 1}}));
  EXPECT_EQ(std::get<json>(*result)["a"], 1);
  auto failure = decode_reply(encode_failure(Failure(Exit::kBusy, "busy", "wait")));
  EXPECT_EQ(std::get<Failure>(*failure).exit, Exit::kBusy);
  EXPECT_EQ(std::get<Failure>(*failure).todo, "wait");
}

TEST(ControlProtocol, OddRepliesAreNoCrash) {
  EXPECT_FALSE(decode_reply("{}").has_value());
  EXPECT_FALSE(decode_reply("{\"result\":5}").has_value());
  auto odd = decode_reply("{\"failure\":{\"exit\":900,\"what\":7}}");
  ASSERT_TRUE(odd);
  EXPECT_EQ(std::get<Failure>(*odd).exit, Exit::kGeneral);
  // A device's name that is no UTF-8 is still an answer.
  EXPECT_TRUE(decode_reply(encode_result({{"name", "\xff"}})).has_value());
}

// Lets the test decide when a long action ends.
class FakeActions : public ControlActions {
 public:
  json status() override { return {{"state", "mounted"}}; }
  Outcome<json> sync(std::stop_token stop, const Report& report) override {
    report({1, 2, 0, 0, true, ""});
    return wait(stop, "sync");
  }
  Outcome<json> collect(const CollectOptions& options, std::stop_token stop, const Report&) override {
    if (options.dry_run) return json{{"dry_run", true}};
    return wait(stop, "collect");
  }
  Outcome<json> let_in(const std::string& code) override { return json{{"device", code}}; }
  Outcome<json> rewrite(Epoch epoch, std::stop_token stop, const Report&) override {
    if (epoch != 0) return json{{"epoch", epoch}};
    return wait(stop, "rewrite");
  }
  Outcome<json> unmount(const Request& how, std::stop_token stop, std::stop_token hurry, const Report&) override {
    if (how.now) return json{{"left_bytes", 7}};
    std::stop_callback wake(hurry, [this] { end("hurried"); });
    return wait(stop, "unmount");
  }
  void end(std::string how) {
    std::lock_guard lock(mutex_);
    how_ = std::move(how);
    changed_.notify_all();
  }
  std::atomic<int> stopped = 0;

 private:
  Outcome<json> wait(std::stop_token stop, const char* what) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [this] { return !how_.empty(); })) {
      ++stopped;
      return give_up(Exit::kCutShort, what);
    }
    return json{{"how", how_}};
  }
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::string how_;
};

class ControlServerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto listener = listen_control(dir_.path());
    ASSERT_TRUE(listener) << listener.error().what;
    server_ = std::make_unique<ControlServer>(std::move(*listener), actions_);
  }
  LineChannel connect() {
    auto socket = connect_control(dir_.path(), ::geteuid());
    EXPECT_TRUE(socket);
    return LineChannel(std::move(*socket), kReplyMax);
  }
  // The first reply that is no progress.
  static Reply final_reply(LineChannel& channel) {
    for (;;) {
      auto line = channel.read_line(milliseconds(20'000));
      if (!line || !*line) return Failure(Exit::kGeneral, "closed");
      auto reply = decode_reply(**line);
      if (!reply) return reply.error();
      if (!std::holds_alternative<ProgressSample>(*reply)) return *reply;
    }
  }
  static Result<void> say(LineChannel& channel, const std::string& line) {
    return channel.write_line(line, milliseconds(1000));
  }

  TemporaryDirectory dir_;
  FakeActions actions_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, TheSocketIsItsOwnersAlone) {
  auto mode = std::filesystem::status(dir_.path() + "/control").permissions();
  EXPECT_EQ(static_cast<unsigned>(mode) & 0777, 0600u);
}

TEST_F(ControlServerTest, AnswersStatus) {
  LineChannel channel = connect();
  ASSERT_TRUE(say(channel, encode(Request{Request::Op::kStatus})));
  EXPECT_EQ(std::get<json>(final_reply(channel))["state"], "mounted");
}

TEST_F(ControlServerTest, LetsADeviceIn) {
  LineChannel channel = connect();
  ASSERT_TRUE(say(channel, encode(Request{Request::Op::kLetIn, false, false, {}, "its code"})));
  EXPECT_EQ(std::get<json>(final_reply(channel))["device"], "its code");
}

TEST_F(ControlServerTest, TellsProgressUntilTheResult) {
  LineChannel channel = connect();
  ASSERT_TRUE(say(channel, encode(Request{Request::Op::kSync})));
  auto line = channel.read_line(milliseconds(20'000));
  ASSERT_TRUE(line && *line);
  EXPECT_TRUE(std::holds_alternative<ProgressSample>(*decode_reply(**line)));
  actions_.end("done");
  EXPECT_EQ(std::get<json>(final_reply(channel))["how"], "done");
}

TEST_F(ControlServerTest, AHurryReachesTheUnmount) {
  LineChannel channel = connect();
  ASSERT_TRUE(say(channel, encode(Request{Request::Op::kUnmount})));
  ASSERT_TRUE(say(channel, "what?"));
  ASSERT_TRUE(say(channel, encode(Request{Request::Op::kHurry})));
  EXPECT_EQ(std::get<json>(final_reply(channel))["how"], "hurried");
}

TEST_F(ControlServerTest, WhoHangsUpEndsHisSync) {
  {
    LineChannel channel = connect();
    ASSERT_TRUE(say(channel, encode(Request{Request::Op::kSync})));
    ASSERT_TRUE(channel.read_line(milliseconds(20'000)));
  }
  server_.reset();  // waits for the action, which only the hang-up ends
  EXPECT_EQ(actions_.stopped, 1);
}

TEST_F(ControlServerTest, GarbageGetsAnErrorAndOthersGoOn) {
  LineChannel garbage = connect(), endless = connect();
  ASSERT_TRUE(say(garbage, "\x01\x02{{{"));
  EXPECT_EQ(std::get<Failure>(final_reply(garbage)).exit, Exit::kUsage);
  (void)say(endless, std::string(3 * kRequestMax, 'x'));
  EXPECT_EQ(std::get<Failure>(final_reply(endless)).what, "closed");
  LineChannel good = connect();
  ASSERT_TRUE(say(good, encode(Request{Request::Op::kStatus})));
  EXPECT_TRUE(std::holds_alternative<json>(final_reply(good)));
}

TEST_F(ControlServerTest, TooManyAtOnceAreTold) {
  std::vector<LineChannel> waiting;
  for (size_t i = 0; i < ControlServer::kConnectionsMax; ++i) {
    waiting.push_back(connect());
    ASSERT_TRUE(say(waiting.back(), encode(Request{Request::Op::kSync})));
    ASSERT_TRUE(waiting.back().read_line(milliseconds(20'000)));  // it is being served
  }
  LineChannel one_more = connect();
  EXPECT_EQ(std::get<Failure>(final_reply(one_more)).exit, Exit::kBusy);
  actions_.end("done");
}

TEST(ControlSocket, ALongPathIsNoProblem) {
  TemporaryDirectory dir;
  std::string deep = dir.path() + "/" + std::string(120, 'd');
  std::filesystem::create_directory(deep);
  auto listener = listen_control(deep);
  ASSERT_TRUE(listener) << listener.error().what;
  EXPECT_TRUE(connect_control(deep, ::geteuid()).has_value());
}

}  // namespace
}  // namespace coffer::cli
