// coffer device join: this machine becomes a device of a volume whose passphrase nobody types here.
#include <condition_variable>
#include <cstdio>
#include <mutex>

#include "crypto/kept_key.h"
#include "fs/cli/commands.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/key_keeper.h"
#include "fs/cli/open_drive.h"
#include "fs/cli/target.h"
#include "fs/cli/unlock.h"
#include "fs/sync/object_keys.h"
#include "fs/sync/pairing.h"
#include "remote/stoppable_store.h"
#include "remote/url.h"

namespace coffer::cli {
namespace {

constexpr std::chrono::seconds kLookEvery{1};

// The request in the store; gone, with its answer, when this is.
class Request {
 public:
  static Outcome<std::unique_ptr<Request>> put(ObjectStore& remote, const PairingWait& wait, std::stop_token stop) {
    std::unique_ptr<Request> request(new Request(remote, wait.id()));
    TRYV(remote.put(pair_request_key(wait.id()), wait.request(), stop));
    return request;
  }
  ~Request() {
    // Also after Ctrl-C. What is left of it, because the store is away, is swept by the members.
    (void)remote_.remove(pair_answer_key(id_));
    (void)remote_.remove(pair_request_key(id_));
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

 private:
  Request(ObjectStore& remote, const ObjectId& id) : remote_(remote), id_(id) {}
  ObjectStore& remote_;
  const ObjectId id_;
};

void show_code(const PairingCode& code, const std::string& device) {
  const Secret text = code.text();
  const std::string_view all = as_string(text.view());
  const size_t half = all.size() / 2;  // the dash in the middle
  std::printf(
      "On a machine that has the volume already, run  coffer device add  and type this code there:\n\n"
      "    %.*s\n    %.*s\n\n"
      "It lets this machine in as %s, once, and within a day. Until then let nobody else see it.\n"
      "Waiting for the other machine (Ctrl-C cancels) ...\n",
      static_cast<int>(half), all.data(), static_cast<int>(all.size() - half - 1), all.data() + half + 1,
      device.c_str());
  std::fflush(stdout);
}

Outcome<Bytes> wait_for_answer(ObjectStore& store, const ObjectId& id, std::stop_token stop) {
  const Nanos until = Clock::system().monotonic() + kPairingTime;
  std::mutex mutex;
  std::condition_variable_any wake;
  while (Clock::system().monotonic() < until) {
    auto answer = store.get(pair_answer_key(id), kMaxPairingAnswer, stop);
    if (answer) return std::move(*answer);
    if (answer.error().code() != Code::kNotFound && !answer.error().retryable())
      return give_up(stop.stop_requested() ? Failure(Exit::kCutShort, "cancelled; nobody was let in")
                                           : Failure(answer.error()));
    std::unique_lock lock(mutex);
    wake.wait_for(lock, stop, kLookEvery, [] { return false; });
    if (stop.stop_requested()) return give_up(Exit::kCutShort, "cancelled; nobody was let in");
  }
  return give_up(Exit::kCutShort, "nobody let this machine in within a day", "Start over: a new code is shown.");
}

Outcome<HandedOver> open_answer(const PairingWait& wait, const VolumeHead& head, BytesView answer) {
  auto contents = wait.open(answer);
  auto opened = contents ? decode_handed_over(contents->view()) : Result<HandedOver>(fail(contents.error()));
  if (!opened) {
    Failure failure = Failure(opened.error()).in("this machine was not let in");
    if (failure.exit == Exit::kDamaged)
      failure.todo = "Start over. If it happens again, somebody changes what is in the store: ask whoever runs it.";
    return give_up(failure);
  }
  if (opened->certificate.key != wait.signing().public_key())
    return give_up(Exit::kDamaged, "this machine was not let in: the certificate is for another one");
  if (opened->secrets.volume != head.volume || opened->secrets.signing_public != head.signing_public)
    return give_up(Exit::kDamaged, "the store shows another volume than the one that this machine was let in to",
                   "Somebody changed the object 'coffer' there: ask whoever runs the store.");
  return std::move(*opened);
}

// What was handed over becomes who this state directory is; if it is somebody already, it stays that.
Outcome<std::string> keep_identity(VolumeDirectory& directory, const PairingWait& wait, const std::string& name,
                                   const HandedOver& handed_over) {
  auto first_key = handed_over.secrets.epoch_keys.find(1);
  if (first_key == handed_over.secrets.epoch_keys.end())
    return give_up(Exit::kDamaged, "what was handed over lacks the volume's first key");
  const LocalKeys local(first_key->second, directory.salt());
  TRY(auto sealed, directory.identity());
  std::optional<DeviceIdentity> identity;
  if (sealed) {
    auto opened = open_identity(*sealed, directory.volume(), local);
    if (!opened) {
      Failure failure = Failure(opened.error()).in(directory.path() + "/identity");
      failure.todo = advice_for_damage(directory.path());
      return give_up(failure);
    }
    identity.emplace(std::move(*opened));
  } else {
    TRY(SigningKey key, SigningKey::from_secret(wait.signing().secret().clone()));
    const DeviceId device = handed_over.certificate.device;
    identity.emplace(DeviceIdentity{device, name, std::move(key), handed_over.certificate, {}});
  }
  identity->handed_over = handed_over.heads;
  TRYV(directory.put_identity(seal_identity(*identity, directory.volume(), local)));
  return identity->name;
}

}  // namespace

Outcome<void> run_device_join(const Arguments& arguments) {
  TRY(Target target, resolve_target(arguments));
  const VolumeSettings& settings = target.settings;
  if (settings.keep_key.empty())
    return give_up(Exit::kUsage, "say with --keep-key where this machine keeps the volume's keys between mounts",
                   "--keep-key=keyring until you log out, or --keep-key=secret-service. Whoever has the volume's "
                   "passphrase needs no join: coffer mount asks for it.");
  TRYV(check_state_root(target.state_root));
  Interrupt interrupt;
  TRY(OpenDrive remote, open_remote(target));
  StoppableStore store(*remote.store, interrupt.token());
  TRY(VolumeHead head, find_volume(store));
  TRY(auto slots, find_slots(store));
  // All that can go wrong here is found out before another machine does its part.
  auto keeper = make_key_keeper(settings.keep_key);
  TRYV(keeper->find(head.volume));
  TRY(VolumeDirectory directory, VolumeDirectory::open(target.state_root, head.volume));
  TRY(auto known, directory.kept());
  if (known && known->head.signing_public != head.signing_public)
    return give_up(Exit::kDamaged, "the store shows another signing key than the volume had",
                   "Somebody changed the object 'coffer' there: ask whoever runs the store.");
  if (known) slots = join_slots(head, slots, known->slots);

  const std::string name = device_name(settings.device_name);
  const PairingWait wait = PairingWait::begin(head.volume, Clock::system().wall());
  std::optional<Bytes> answer;
  {
    TRY(auto request, Request::put(*remote.store, wait, interrupt.token()));
    show_code(wait.code(), name);
    TRY(answer, wait_for_answer(*remote.store, wait.id(), interrupt.token()));
  }
  TRY(HandedOver handed_over, open_answer(wait, head, *answer));
  TRYV(directory.keep(head, slots));
  TRY(std::string called, keep_identity(directory, wait, name, handed_over));
  TRYV(remember_volume(target.state_root, target.canonical, head.volume));
  if (auto kept = keeper->keep(head.volume, encode_kept_key(handed_over.secrets)); !kept)
    return give_up(kept.error().in("this machine is a device of the volume now, and its keys could not be kept"));
  std::printf(
      "This machine is the device %s of the volume now, let in by %s. Its keys are in %s.\nNext: coffer mount %s DIR "
      "--keep-key=%s\n",
      called.c_str(), printable(handed_over.by, kDeviceNameMax).c_str(), keeper->name().c_str(),
      arguments.operands[0].c_str(), settings.keep_key.c_str());
  return {};
}

}  // namespace coffer::cli
