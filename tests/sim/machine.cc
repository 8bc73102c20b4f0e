#include "tests/sim/machine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <thread>

#include "base/fd.h"
#include "base/thread.h"

namespace coffer::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

SyncOptions sync_options(const Options& options, const Clock& clock) {
  SyncOptions out;
  out.clock = &clock;
  out.poll_active = seconds(2);
  out.active_for = minutes(1);
  out.checkpoint_from = options.has("checkpoint") ? 1 << 20 : 0;
  // Old records move into archives soon, and their objects go: the grace is longer than the store is late, and no more.
  out.archive_from = options.has("archive") ? 3 : 0;
  out.archive_bytes = 64 << 10;
  out.archive_grace = minutes(4);
  if (options.has("archive")) out.collect_every = minutes(1);
  out.uploads = 2;
  out.fetches = 2;
  return out;
}

void must(const std::string& what, const std::error_code& failed) {
  if (failed) give_up(what + ": " + failed.message());
}

// Holes stay holes: most of a journal is room that was preallocated. Does not give way to another fiber.
void copy_file(const std::string& from, const std::string& to) {
  Fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC)), out(::open(to.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!in || !out) give_up("cannot copy " + from);
  const off_t size = ::lseek(in.get(), 0, SEEK_END);
  if (::ftruncate(out.get(), size) != 0) give_up("cannot copy " + from);
  std::vector<char> buffer(256 << 10);
  for (off_t at = 0;;) {
    const off_t data = ::lseek(in.get(), at, SEEK_DATA);
    if (data < 0) return;
    const off_t hole = ::lseek(in.get(), data, SEEK_HOLE);
    for (at = data; at < hole;) {
      const ssize_t n = ::pread(in.get(), buffer.data(), std::min<size_t>(buffer.size(), hole - at), at);
      if (n <= 0 || ::lseek(out.get(), at, SEEK_SET) < 0 || ::write(out.get(), buffer.data(), n) != n)
        give_up("cannot copy " + from);
      at += n;
    }
  }
}

void copy_directory(const std::string& from, const std::string& to) {
  std::error_code failed;
  std::filesystem::create_directories(to, failed);
  must(to, failed);
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::string target = to + "/" + entry.path().filename().string();
    if (entry.is_directory())
      copy_directory(entry.path().string(), target);
    else
      copy_file(entry.path().string(), target);
  }
}

void remove_directory(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace

Machine::Machine(World& world, unsigned number)
    : world_(world),
      number_(number),
      name_("m" + std::to_string(number)),
      clock_(world.options.has("skew") ? world.numbers(100 + number).duration(Nanos(0), std::chrono::hours(2))
                                       : Nanos(0)),
      secrets_(world.secrets()),
      options_(sync_options(world.options, clock_)),
      directory_(fresh_directory()) {
  identity_ = std::make_shared<DeviceIdentity>(join(secrets_, name_).value());
}

Machine::Machine(Machine& other, unsigned number)
    : world_(other.world_),
      number_(number),
      name_("m" + std::to_string(number)),
      clock_(Nanos(0)),
      secrets_(world_.secrets()),
      identity_(other.identity_),
      options_(sync_options(world_.options, clock_)),
      directory_(fresh_directory()) {
  other.copy_state(directory_);
}

Machine::~Machine() {
  stop();
  remove_directory(directory_);
  if (backup_) remove_directory(backup_->directory);
}

Machine::Run::Run(World& world, Machine& machine, std::unique_ptr<Replica> opened)
    : connection(std::make_shared<Connection>(world.store, machine.number_)),
      replica(std::move(opened)),
      sync(*replica, *connection, *machine.identity_, machine.secrets_, machine.options_),
      kernel(world, *replica, sync, machine.number_, machine.name_),
      directory(machine.directory_) {
  connection->set_online(machine.online_);
  connection->hide(machine.hidden_);
}

std::string Machine::fresh_directory() { return world_.directory + "/" + name_ + "-" + std::to_string(++directories_); }

Result<std::unique_ptr<Replica>> Machine::open() {
  TRYV(make_directories(directory_));
  Replica::Keys keys;
  keys.volume = world_.volume;
  keys.epochs = std::make_unique<KeyRing>(1, world_.key);
  keys.local = std::make_unique<LocalKeys>(world_.key, Bytes(32, 3));
  Replica::Options options;
  options.clock = &clock_;
  options.device_name = name_;
  if (world_.options.has("ahead") && number_ % 2 == 0) options.merge_at_once = 0;
  return Replica::open(directory_, std::move(keys), options);
}

bool Machine::start() {
  world_.tell(name_ + ": starts");
  auto replica = open();
  if (!replica) give_up(name_ + " does not open: " + replica.error().what());
  auto run = std::make_unique<Run>(world_, *this, std::move(*replica));
  if (auto started = run->sync.start(); !started) give_up(name_ + " does not start: " + started.error().what());
  auto has_root = [&] {
    auto root = run->replica->has_root();
    if (!root) give_up(name_ + ": " + root.error().what());
    return *root;
  };
  if (!has_root()) {
    if (auto loaded = run->sync.load_first({}); !loaded) {
      world_.tell(name_ + ": " + loaded.error().what());
      if (loaded.error().code() == Code::kCorrupt) give_up(name_ + " cannot join: " + loaded.error().what());
      end(std::move(run));
      return false;
    }
    if (!has_root()) {
      // `coffer init` is one machine's; others come when something is there.
      if (number_ != 0) {
        end(std::move(run));
        return false;
      }
      if (auto made = run->replica->make_root(); !made) give_up(name_ + ": " + made.error().what());
    }
  }
  run_ = std::move(run);
  return true;
}

void Machine::end(std::unique_ptr<Run> run) {
  run->sync.stop(false);
  auto closed = run->replica->close();
  if (!closed && !run->dead) give_up(name_ + " does not close: " + closed.error().what());
}

void Machine::stop() {
  if (!run_) return;
  world_.tell(name_ + ": stops");
  auto run = std::move(run_);
  if (auto kept = run->replica->sync_all(true); !kept) give_up(name_ + ": " + kept.error().what());
  std::stop_source late;
  std::mutex mutex;
  std::condition_variable_any done;
  {
    auto watchdog = start_thread("patience", [&](std::stop_token stop) {
      std::unique_lock lock(mutex);
      if (!done.wait_for(lock, stop, seconds(20), [] { return false; })) late.request_stop();
    });
    (void)run->sync.sync(late.get_token(), {});
  }
  run->kernel.unmount();
  const SyncStatus status = run->sync.status();
  run->sync.stop(status.waiting_bytes == 0 && status.waiting_files == 0);
  end(std::move(run));
}

void Machine::copy_state(const std::string& to) {
  remove_directory(to);
  copy_directory(directory_, to);
}

void Machine::crash() {
  if (!run_) return;
  world_.tell(name_ + ": crashes");
  // From here to the end of the copy nothing else runs: it is what the next run finds. The old one goes on without effect,
  // only so that its memory is given back.
  run_->dead = true;
  run_->kernel.die();
  run_->connection->cut();
  const std::string old = directory_;
  directory_ = fresh_directory();
  copy_directory(old, directory_);
  end(std::move(run_));
  remove_directory(old);
}

void Machine::set_online(bool online) {
  world_.tell(name_ + (online ? ": online" : ": offline"));
  online_ = online;
  if (run_) run_->connection->set_online(online);
}

void Machine::take_backup() {
  world_.tell(name_ + ": backup");
  if (!backup_) backup_.emplace(Backup{fresh_directory(), {}});
  copy_state(backup_->directory);
  backup_->when = world_.now();
}

void Machine::restore_backup() {
  world_.tell(name_ + ": restored");
  remove_directory(directory_);
  directory_ = std::exchange(backup_->directory, fresh_directory());
  world_.versions.restored(number_, backup_->when);
  backup_.reset();
}

void Machine::work(Random& random, unsigned programs, unsigned steps, std::optional<Nanos> crash_within) {
  if (!run_) return;
  Run& run = *run_;
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < programs; ++i) {
    threads.push_back(start_thread("program", [&run, steps, numbers = Random(random.next())]() mutable {
      for (unsigned step = 0; step < steps && !run.dead; ++step) {
        run.kernel.step(numbers);
        if (numbers.chance(300)) Scheduler::current()->sleep(numbers.duration(Nanos(0), milliseconds(1500)));
      }
    }));
  }
  std::string old;
  if (crash_within) {
    if (random.chance(700)) Scheduler::current()->sleep(random.duration(Nanos(0), *crash_within));
    for (uint64_t turns = random.below(400); turns > 0; --turns) Scheduler::current()->yield();
    // As crash(), with programs running.
    world_.tell(name_ + ": crashes at work");
    run.dead = true;
    run.kernel.die();
    run.connection->cut();
    old = directory_;
    directory_ = fresh_directory();
    copy_directory(old, directory_);
  }
  threads.clear();
  if (!crash_within) return;
  end(std::move(run_));
  remove_directory(old);
}

Result<void> Machine::sync(Nanos patience) {
  std::stop_source late;
  std::mutex mutex;
  std::condition_variable_any done;
  auto watchdog = start_thread("patience", [&](std::stop_token stop) {
    std::unique_lock lock(mutex);
    done.wait_for(lock, stop, patience, [] { return false; });
    if (!stop.stop_requested()) late.request_stop();
  });
  const Nanos begin = world_.now();
  auto synced = run_->sync.sync(late.get_token(), {});
  world_.tell(name_ + ": synced " + (synced ? "" : synced.error().what()));
  // What was fsynced before is in a record, and that is in the store.
  if (synced) world_.versions.published(number_, begin);
  return synced;
}

Result<Collection> Machine::collect() {
  CollectOptions options;
  options.grace = std::chrono::days(1000);
  options.archive_grace = Nanos(0);
  auto done = run_->sync.collect(options, {}, {});
  world_.tell(name_ + ": collected " + (done ? std::to_string(done->single.objects) : done.error().what()));
  return done;
}

std::vector<std::string> Machine::faults() {
  auto found = run_->replica->find_faults();
  if (!found) give_up(name_ + ": " + found.error().what());
  return *found;
}

}  // namespace coffer::sim
