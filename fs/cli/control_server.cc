#include "fs/cli/control_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <optional>

#include "base/log.h"
#include "base/thread.h"
#include "fs/cli/control_socket.h"
#include "fs/cli/line_channel.h"

namespace coffer::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRequestTimeout{10'000};
constexpr milliseconds kReplyTimeout{10'000};
constexpr int kProgressIntervalMs = 200;

void signal_event(const Fd& event) {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(event.get(), &one, sizeof one);
}

// Runs `action` in a thread of its own while this one tells the asker how far it is and listens for what he says.
class LongAction {
 public:
  using Action = std::function<Outcome<nlohmann::json>(std::stop_token stop, std::stop_token hurry,
                                                       const ControlActions::Report&)>;

  explicit LongAction(LineChannel& channel) : channel_(channel), finished_(::eventfd(0, EFD_CLOEXEC)) {}

  void run(const Action& action) {
    std::optional<Outcome<nlohmann::json>> outcome;
    {
      auto worker = start_thread("control-action", [&] {
        outcome = action(stop_.get_token(), hurry_.get_token(), [this](const ProgressSample& s) {
          MutexLock lock(mutex_);
          latest_ = s;
        });
        signal_event(finished_);
      });
      while (!wait_a_little()) tell_progress();
    }
    (void)channel_.write_line(*outcome ? encode_result(**outcome) : encode_failure(outcome->error()), kReplyTimeout);
  }

 private:
  // True when the action has ended.
  bool wait_a_little() {
    // What came in one piece with the request makes the socket readable no more.
    if (channel_.has_line()) listen();
    pollfd wait[] = {{finished_.get(), POLLIN, 0}, {gone_ ? -1 : channel_.fd(), POLLIN, 0}};
    if (::poll(wait, 2, kProgressIntervalMs) <= 0) return false;
    if (wait[1].revents != 0) listen();
    return wait[0].revents != 0;
  }

  void listen() {
    do {
      auto line = channel_.read_line(milliseconds(0));
      if (!line && line.error().code() == Code::kTimedOut) return;
      if (!line || !*line) return leave();
      auto request = decode_request(**line);
      if (request && request->op == Request::Op::kHurry) hurry_.request_stop();
    } while (channel_.has_line());
  }

  void tell_progress() {
    if (gone_) return;
    std::optional<ProgressSample> sample;
    {
      MutexLock lock(mutex_);
      sample = latest_;
    }
    // Also when nothing is new: the asker takes silence for death.
    if (!channel_.write_line(encode_progress(sample.value_or(ProgressSample{})), kReplyTimeout)) leave();
  }

  void leave() {
    gone_ = true;
    stop_.request_stop();
  }

  LineChannel& channel_;
  Fd finished_;
  std::stop_source stop_, hurry_;
  bool gone_ = false;
  Mutex mutex_{Rank::kLeaf};
  std::optional<ProgressSample> latest_ GUARDED_BY(mutex_);
};

}  // namespace

ControlServer::ControlServer(Fd listener, ControlActions& actions)
    : listener_(std::move(listener)), wake_(::eventfd(0, EFD_CLOEXEC)), actions_(actions) {
  acceptor_ = start_thread("control", [this](std::stop_token stop) { accept_loop(stop); });
}

ControlServer::~ControlServer() {
  acceptor_.request_stop();
  signal_event(wake_);
  acceptor_.join();
  reap(true);
}

void ControlServer::accept_loop(std::stop_token stop) {
  while (!stop.stop_requested()) {
    pollfd wait[] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return;
    reap(false);
    if (stop.stop_requested() || wait[0].revents == 0) continue;
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket || !peer_is(socket, ::geteuid())) continue;
    if (connections_.size() >= kConnectionsMax) {
      LineChannel channel(std::move(socket), kRequestMax);
      (void)channel.write_line(encode_failure(Failure(Exit::kBusy, "too many requests at once", "Try again.")),
                               milliseconds(100));
      continue;
    }
    auto connection = std::make_unique<Connection>();
    Connection* c = connection.get();
    connections_.push_back(std::move(connection));
    c->thread = start_thread("control-conn", [this, c, s = std::make_shared<Fd>(std::move(socket))] {
      serve(std::move(*s));
      c->done = true;
    });
  }
}

void ControlServer::serve(Fd socket) {
  LineChannel channel(std::move(socket), kRequestMax);
  auto line = channel.read_line(kRequestTimeout);
  if (!line || !*line) return;
  auto request = decode_request(**line);
  if (!request) {
    (void)channel.write_line(encode_failure(request.error()), kReplyTimeout);
    return;
  }
  switch (request->op) {
    case Request::Op::kStatus:
      (void)channel.write_line(encode_result(actions_.status()), kReplyTimeout);
      return;
    case Request::Op::kSync:
      return LongAction(channel).run(
          [this](std::stop_token stop, std::stop_token, const auto& report) { return actions_.sync(stop, report); });
    case Request::Op::kUnmount:
      return LongAction(channel).run([this, &request](std::stop_token stop, std::stop_token hurry, const auto& report) {
        return actions_.unmount(*request, stop, hurry, report);
      });
    case Request::Op::kCollect:
      return LongAction(channel).run([this, &request](std::stop_token stop, std::stop_token, const auto& report) {
        return actions_.collect(request->collect, stop, report);
      });
    case Request::Op::kRewrite:
      return LongAction(channel).run([this, &request](std::stop_token stop, std::stop_token, const auto& report) {
        return actions_.rewrite(request->epoch, stop, report);
      });
    case Request::Op::kLetIn:
      return LongAction(channel).run(
          [this, &request](std::stop_token, std::stop_token, const auto&) { return actions_.let_in(request->code); });
    case Request::Op::kHurry:
      (void)channel.write_line(encode_failure(Failure(Exit::kUsage, "nothing to hurry")), kReplyTimeout);
  }
}

void ControlServer::reap(bool all) {
  std::erase_if(connections_, [all](const auto& c) { return all || c->done; });
}

}  // namespace coffer::cli
