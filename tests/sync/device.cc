#include "tests/sync/device.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "crypto/hash.h"
#include "crypto/random.h"

namespace coffer::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

SyncOptions quick_options() {
  SyncOptions o;
  o.publish_after = milliseconds(20);
  o.publish_within = seconds(2);
  o.poll_active = milliseconds(50);
  o.poll_idle = milliseconds(50);
  o.fetch_timeout = seconds(5);
  o.missing_after = milliseconds(300);
  o.fetches = 4;
  o.checkpoint_from = 0;  // tests of checkpoints ask for them
  return o;
}

TestVolume::TestVolume() : id(random_id<VolumeId>()), key(Secret::random(32)), signing(SigningKey::generate()) {}

VolumeSecrets TestVolume::secrets() const {
  VolumeSecrets s;
  s.volume = id;
  s.epoch_keys.emplace(1, key.clone());
  s.signing_public = signing.public_key();
  s.signing_secret = SigningKey::from_secret(signing.secret().clone()).value();
  return s;
}

Device::Device(const TestVolume& volume, std::shared_ptr<ObjectStore> store, std::string name, SyncOptions options,
               const SpaceLimits& limits)
    : volume_(volume),
      name_(std::move(name)),
      options_(options),
      limits_(limits),
      metered_(std::make_shared<MeteredStore>(std::move(store))),
      faults_(std::make_shared<FaultStore>(metered_, nullptr)),
      secrets_(volume.secrets()),
      identity_(std::make_shared<DeviceIdentity>(join(secrets_, name_).value())) {}

Device::~Device() { stop(false); }

void Device::start() {
  open();
  TAKE(bool root, replica_->has_root());
  if (root) return;
  ASSERT_OK(sync_->load_first({}));
  TAKE(root, replica_->has_root());
  if (!root) ASSERT_OK(replica_->make_root());
}

void Device::open() {
  Replica::Keys keys;
  keys.volume = volume_.id;
  keys.epochs = std::make_unique<KeyRing>(1, volume_.key);
  keys.local = std::make_unique<LocalKeys>(volume_.key, Bytes(32, 3));
  Replica::Options options;
  options.device_name = name_;
  options.space = limits_;
  TAKE(replica_, Replica::open(dir_.path(), std::move(keys), options));
  sync_ = std::make_unique<Synchronizer>(*replica_, *faults_, *identity_, secrets_, options_);
  ASSERT_OK(sync_->start());
}

void Device::stop(bool close_log) {
  if (sync_) sync_->stop(close_log);
  sync_.reset();
  if (replica_) EXPECT_OK(replica_->close());
  replica_.reset();
}

void Device::copy_state_from(const Device& other) {
  std::filesystem::remove_all(dir_.path());
  std::filesystem::copy(other.dir_.path(), dir_.path(), std::filesystem::copy_options::recursive);
  identity_ = other.identity_;
}

Result<void> Device::sync() {
  // A device that hangs fails its test instead of holding it up.
  std::stop_source late;
  std::mutex mutex;
  std::condition_variable_any done;
  std::jthread watchdog([&](std::stop_token stop) {
    std::unique_lock lock(mutex);
    done.wait_for(lock, stop, seconds(60), [] { return false; });
    if (!stop.stop_requested()) late.request_stop();
  });
  return sync_->sync(late.get_token(), {});
}

Result<model::Ino> Device::find(const std::string& path) {
  model::Ino at = model::kRootIno;
  size_t start = 0;
  while (start < path.size()) {
    size_t end = std::min(path.find('/', start), path.size());
    TRY(model::Node node, replica_->lookup(at, path.substr(start, end - start)));
    at = node.ino;
    start = end + 1;
  }
  return at;
}

namespace {
std::pair<std::string, std::string> split(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}
}  // namespace

void Device::mkdir(const std::string& path) {
  auto [parent, name] = split(path);
  TAKE(model::Ino dir, find(parent));
  model::NewInode what;
  what.type = model::FileType::kDirectory;
  what.mode = 0755;
  ASSERT_OK(replica_->make(dir, name, what));
}

void Device::write(const std::string& path, BytesView content, uint64_t offset) {
  auto there = find(path);
  model::Ino ino = there.value_or(0);
  if (!there) {
    auto [parent, name] = split(path);
    TAKE(model::Ino dir, find(parent));
    model::NewInode what;
    what.mode = 0644;
    auto made = replica_->make(dir, name, what);
    // News may have made it since.
    auto node = !made && made.error().code() == Code::kExists ? replica_->lookup(dir, name) : std::move(made);
    ASSERT_OK(node);
    ino = node->ino;
  }
  for (size_t at = 0; at < content.size(); at += 100'000)
    ASSERT_OK(
        replica_->write(ino, offset + at, content.subspan(at, std::min<size_t>(100'000, content.size() - at)), false));
}

void Device::remove(const std::string& path) {
  auto [parent, name] = split(path);
  TAKE(model::Ino dir, find(parent));
  TAKE(model::Unlinked gone, replica_->unlink(dir, name));
  replica_->forget(gone.ino);
}

Result<Bytes> Device::read(const std::string& path) {
  TRY(model::Ino ino, find(path));
  TRY(model::Inode inode, replica_->attributes(ino));
  Bytes out(inode.size);
  for (size_t at = 0; at < out.size();) {
    size_t step = std::min<size_t>(out.size() - at, 128 << 10);
    TRY(auto outcome, replica_->read(ino, at, MutableBytes(out).subspan(at, step)));
    if (!outcome.missing.empty()) {
      std::mutex mutex;
      std::condition_variable answered;
      std::optional<Result<void>> answer;
      sync_->fetch(outcome.missing, {}, [&](Result<void> r) {
        std::lock_guard lock(mutex);
        answer = std::move(r);
        answered.notify_all();
      });
      std::unique_lock lock(mutex);
      answered.wait(lock, [&] { return answer.has_value(); });
      if (!*answer) return std::unexpected(answer->error());
      continue;
    }
    if (outcome.bytes != step) return fail(Code::kInternal, "short read");
    at += step;
  }
  return out;
}

std::map<std::string, std::string> Device::tree() {
  std::map<std::string, std::string> out;
  std::vector<std::pair<std::string, model::Ino>> todo = {{"", model::kRootIno}};
  while (!todo.empty()) {
    auto [path, dir] = todo.back();
    todo.pop_back();
    uint64_t after = 0;
    for (;;) {
      auto entries = replica_->list(dir, after, 1000);
      if (!entries) {
        ADD_FAILURE() << entries.error().what();
        return out;
      }
      if (entries->empty()) break;
      for (const model::ListedEntry& e : *entries) {
        after = e.cookie;
        std::string name = path.empty() ? e.entry.name : path + "/" + e.entry.name;
        if (e.entry.type == model::FileType::kDirectory) {
          out[name] = "directory";
          todo.emplace_back(name, e.entry.ino);
          continue;
        }
        auto content = read(name);
        out[name] = content ? blake2b(*content).str() : std::string("error: ") + content.error().what();
      }
    }
  }
  return out;
}

std::string Device::problems() const {
  std::string out;
  for (const Problem& p : sync_->status().problems) out += p.what + " -> " + p.todo + "\n";
  return out;
}

std::vector<LogTail> Device::logs() {
  LogTails tails([&](const RowKey& key) { return replica_->get_row(key); });
  auto rows = replica_->rows_with_prefix(LogTails::kTailPrefix);
  EXPECT_TRUE(rows && tails.load(*rows));
  return tails.all();
}

FaultRates unreliable() {
  FaultRates rates;
  rates.fail_before = 80;
  rates.fail_after = 60;
  rates.twice = 50;
  rates.hide = 100;
  rates.hide_for_at_most = 10;
  return rates;
}

std::unique_ptr<Device> DevicesTest::device(const std::string& name, SyncOptions options, const SpaceLimits& limits) {
  auto d = std::make_unique<Device>(volume_, memory_, name, options, limits);
  d->start();
  return d;
}

std::vector<std::string> DevicesTest::keys(const std::string& prefix) const {
  std::vector<std::string> out;
  for (auto& [key, object] : memory_->snapshot())
    if (key.starts_with(prefix)) out.push_back(key);
  return out;
}

void DevicesTest::wait_until(const std::function<bool()>& condition) {
  for (int i = 0; i < 1200 && !condition(); ++i) std::this_thread::sleep_for(milliseconds(25));
  EXPECT_TRUE(condition());
}

void DevicesTest::settle(const std::vector<Device*>& devices) {
  for (int round = 0; round < 3; ++round)
    for (Device* d : devices) d->must_sync();
}

void DevicesTest::expect_equal(const std::vector<Device*>& devices) {
  for (Device* d : devices) {
    EXPECT_EQ(d->tree(), devices[0]->tree());
    TAKE(auto faults, d->replica().find_faults());
    EXPECT_EQ(faults, std::vector<std::string>());
  }
}

}  // namespace coffer::test
