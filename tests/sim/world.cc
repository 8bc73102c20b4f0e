#include "tests/sim/world.h"

#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <thread>

#include "base/log.h"
#include "base/thread.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "fs/sync/archived_logs.h"
#include "tests/sim/machine.h"

namespace coffer::sim {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

StoreHabits habits(const Options& options, Random random) {
  StoreHabits h;
  // Each run has a store of its own character; a third of them are good at each thing.
  auto some = [&](const char* what, unsigned most) {
    return options.has(what) && random.chance(666) ? static_cast<unsigned>(random.below(most)) : 0;
  };
  h.slow = some("slow", 30);
  h.fail_before = some("fail", 80);
  h.fail_after = some("fail", 80);
  h.again = some("again", 100);
  h.late_list = some("late", 300);
  h.late_get = some("late", 300);
  return h;
}

struct Machines {
  void begin(World& world, size_t index);

  std::deque<std::unique_ptr<Machine>> all;  // those of the start, then their clones
  std::deque<std::jthread> lives;
  unsigned count = 0;
};

constexpr size_t kMostClones = 2;

// What a machine goes through.
void live(World& world, Machines& machines, size_t index) {
  Random random = world.numbers(1000 + index);
  const Options& options = world.options;
  auto wait = [&](Nanos least, Nanos most) { Scheduler::current()->sleep(random.duration(least, most)); };
  auto chance = [&](const char* what, unsigned per_mille) { return random.chance(per_mille) && options.has(what); };
  Machine& m = *machines.all[index];

  if (index > 0 && chance("join", 400)) wait(minutes(1), minutes(20));
  for (unsigned burst = 0; burst < options.bursts; ++burst) {
    for (int tries = 0; !m.running() && !m.start(); ++tries) {
      if (tries > 20) return;  // nobody has published anything; settle() tries again
      wait(seconds(5), minutes(2));
      m.set_online(true);
    }
    if (chance("offline", 150)) m.set_online(false);
    const unsigned programs = 1 + static_cast<unsigned>(random.below(2)),
                   steps = 1 + static_cast<unsigned>(random.below(8));
    const bool crash = chance("crash", 150);
    m.work(random, programs, steps, crash ? std::optional(Nanos(seconds(random.chance(500) ? 1 : 10))) : std::nullopt);
    if (m.running() && chance("restore", 80)) m.take_backup();
    if (m.running() && machines.all.size() < machines.count + kMostClones && chance("clone", 25)) {
      const size_t twin = machines.all.size();
      machines.all.push_back(std::make_unique<Machine>(m, static_cast<unsigned>(twin)));
      machines.begin(world, twin);
    }
    if (random.chance(300)) wait(seconds(0), minutes(3));
    if (m.running() && random.chance(200)) (void)m.sync(seconds(30));
    if (chance("crash", 50)) m.crash();
    if (chance("restart", 100)) m.stop();
    if (m.has_backup() && chance("restore", 100)) {
      m.crash();
      m.restore_backup();
    }
    if (random.chance(300)) m.set_online(true);
    wait(Nanos(0), random.chance(800) ? seconds(20) : minutes(10));
  }
  m.set_online(true);
  if (!m.running()) (void)m.start();
}

void Machines::begin(World& world, size_t index) {
  lives.push_back(
      start_thread(("m" + std::to_string(index)).c_str(), [this, &world, index] { live(world, *this, index); }));
}

void expect_quiet(const std::string& name, const SyncStatus& status) {
  if (status.waiting_files > 0)
    give_up(name + " still has to publish " + std::to_string(status.waiting_files) + " files");
  for (const Problem& p : status.problems) {
    // What the store did before it was good; the hourly listing, or the next upload, takes it back.
    const bool of_the_store = p.what.find("has vanished") != std::string::npos || p.what.starts_with("cannot reach") ||
                              p.what.ends_with("no such object");
    if (!of_the_store) give_up(name + " has a problem: " + p.what);
  }
}

// All in step: every machine has published all, and has what the others published.
void settle(World& world, std::deque<std::unique_ptr<Machine>>& machines) {
  world.tell("quiet");
  world.store->be_good();
  for (auto& m : machines) {
    for (int tries = 0; !m->running() && !m->start(); ++tries) {
      if (tries > 20) give_up(m->name() + " cannot join");
      Scheduler::current()->sleep(seconds(30));
    }
    if (m == machines[0]) (void)m->sync(minutes(30));  // so that there is something to join
  }
  for (auto& m : machines) m->close_files();
  std::vector<std::string> trees;
  for (int round = 0; round < 6; ++round) {
    for (int again = 0; again < 2; ++again)
      for (auto& m : machines)
        if (auto synced = m->sync(minutes(30)); !synced && round > 0)
          give_up(m->name() + " is stuck: " + synced.error().what());
    trees.clear();
    for (auto& m : machines) trees.push_back(m->tree(nullptr));
    if (std::all_of(trees.begin(), trees.end(), [&](const std::string& t) { return t == trees[0]; })) return;
    // Hints that were lost are made up for by the hourly listing of everything.
    Scheduler::current()->sleep(minutes(61));
  }
  for (size_t i = 1; i < trees.size(); ++i)
    if (trees[i] != trees[0])
      give_up("trees differ:\n" + machines[0]->name() + ":\n" + trees[0] + machines[i]->name() + ":\n" + trees[i]);
}

// Nearly all records move into archives, and their objects go; most machines are not there meanwhile.
void archive(World& world, std::deque<std::unique_ptr<Machine>>& machines) {
  if (!world.options.has("archive")) return;
  for (auto& m : machines)
    if (m != machines[0]) m->stop();
  for (int done = 0, tries = 0; done < 2 && tries < 4; ++tries) {
    (void)machines[0]->sync(minutes(30));
    auto collected = machines[0]->collect();
    if (collected) ++done;
    if (!collected && collected.error().code() != Code::kBusy)
      give_up(machines[0]->name() + " cannot archive: " + collected.error().what());
    if (!collected) Scheduler::current()->sleep(minutes(20));
  }
}

void check(World& world, std::deque<std::unique_ptr<Machine>>& machines) {
  std::set<Hash> live;
  const std::string tree = machines[0]->tree(&live);
  world.tell(tree);
  for (auto& m : machines) {
    for (const std::string& fault : m->faults()) give_up(m->name() + ": " + fault);
    expect_quiet(m->name(), m->status());
  }
  // The fold of all records, in their order, from nothing; and what a checkpoint makes of it.
  for (const char* hidden : {"head/checkpoint-", ""}) {
    Machine fold(world, static_cast<unsigned>(machines.size()) + 100 + (*hidden == 0));
    fold.hide(hidden);
    if (!fold.start()) give_up("a new device cannot join");
    if (auto synced = fold.sync(minutes(30)); !synced) give_up("a new device cannot sync: " + synced.error().what());
    if (const std::string folded = fold.tree(nullptr); folded != tree)
      give_up(std::string(*hidden != 0 ? "the fold of all records" : "a new device's tree") + " differs:\n" + folded +
              "from:\n" + tree);
  }
  std::string lost;
  for (const std::string& line : world.versions.lost(live)) lost += line + "\n";
  if (!lost.empty()) give_up("lost:\n" + lost + "in:\n" + tree);
}

void run_machines(World& world) {
  Machines machines;
  const unsigned most = std::max(2u, world.options.machines);
  machines.count = 2 + static_cast<unsigned>(world.numbers(1).below(most - 1));
  for (unsigned i = 0; i < machines.count; ++i) machines.all.push_back(std::make_unique<Machine>(world, i));
  for (unsigned i = 0; i < machines.count; ++i) machines.begin(world, i);
  for (size_t i = 0; i < machines.lives.size(); ++i) machines.lives[i].join();
  settle(world, machines.all);
  archive(world, machines.all);
  settle(world, machines.all);
  check(world, machines.all);
}

// Numbers instead of the system's randomness.
Random* sodium_numbers = nullptr;
uint32_t some_number() { return static_cast<uint32_t>(sodium_numbers->next()); }
void fill(void* out, size_t size) {
  auto* bytes = static_cast<uint8_t*>(out);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(sodium_numbers->next() >> 32);
}
const char* numbers_name() { return "simulated"; }

}  // namespace

World::World(const Options& the_options)
    : options(the_options),
      store(std::make_shared<SharedStore>(numbers(2).next(), habits(options, numbers(3)))),
      volume(random_id<VolumeId>()),
      key(Secret::random(32)),
      signing(SigningKey::generate()),
      directory("/dev/shm/coffer-sim-" + std::to_string(getppid())) {}

void World::tell(const std::string& line) {
  Scheduler& s = *Scheduler::current();
  for (char c : line) s.mix(static_cast<uint8_t>(c));
  if (!options.trace) return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(s.now()).count() % 100'000'000;
  std::printf("%8lld.%03lld  %s\n", static_cast<long long>(ms / 1000), static_cast<long long>(ms % 1000), line.c_str());
  std::fflush(stdout);
}

VolumeSecrets World::secrets() const {
  VolumeSecrets s;
  s.volume = volume;
  s.epoch_keys.emplace(1, key.clone());
  s.signing_public = signing.public_key();
  s.signing_secret = SigningKey::from_secret(signing.secret().clone()).value();
  return s;
}

std::string run_seed(const Options& options) {
  Random numbers(options.seed ^ 0x5eed);
  sodium_numbers = &numbers;
  static randombytes_implementation implementation = {numbers_name, some_number, nullptr, nullptr, fill, nullptr};
  randombytes_set_implementation(&implementation);
  set_log_level(options.trace ? LogLevel::kDebug : LogLevel::kError);
  if (!crypto_init()) give_up("libsodium does not start");
  Scheduler scheduler(options.seed);
  std::string report;
  scheduler.run([&] {
    World world(options);
    run_machines(world);
    Connection connection(world.store, 0);
    ArchivedLogs logs(connection);
    const size_t shown = logs.list(kLogPrefix).value().size(), archives = world.store->keys(kArchivePrefix).size();
    const size_t archived = shown - world.store->keys(kLogPrefix).size();
    char line[240];
    std::snprintf(
        line, sizeof line,
        "seed %llu: %llu operations, %zu fsyncs, %zu records, %zu of them only in %zu archives, %llu switches, "
        "trace %016llx",
        static_cast<unsigned long long>(options.seed), static_cast<unsigned long long>(world.operations),
        world.versions.acknowledged_count(), shown - archives, archived, archives,
        static_cast<unsigned long long>(scheduler.switches()),
        static_cast<unsigned long long>(scheduler.fingerprint()));
    report = line;
  });
  return report;
}

}  // namespace coffer::sim
