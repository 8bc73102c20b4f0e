#include "tests/replica/exchange.h"

#include "crypto/random.h"
#include "crypto/secret.h"

namespace coffer::test {

namespace {
[[maybe_unused]] const bool crypto_ready = crypto_init().has_value();
}

TestVolume::TestVolume() : id(random_id<VolumeId>()), key(Secret::random(32)) {}

Result<std::unique_ptr<Replica>> TestVolume::open(const std::string& directory, Replica::Options options) const {
  Replica::Keys keys;
  keys.volume = id;
  keys.epochs = std::make_unique<KeyRing>(1, key);
  keys.local = std::make_unique<LocalKeys>(key, Bytes(32, 3));
  return Replica::open(directory, std::move(keys), std::move(options));
}

Result<std::unique_ptr<Replica>> TestVolume::open(const std::string& directory, const std::string& device) const {
  Replica::Options options;
  options.device_name = device;
  return open(directory, std::move(options));
}

std::optional<OrderedRecord> Exchange::publish(Replica& from, Packs& packs) {
  auto frozen = from.freeze();
  EXPECT_TRUE(frozen.has_value()) << frozen.error().what();
  if (!frozen || !*frozen) return std::nullopt;
  auto& [log, number] = logs_[&from];
  if (log.is_zero()) log = random_id<LogId>();
  OrderedRecord record;
  record.stamp = ++stamp_;
  record.log = log;
  record.number = ++number;
  random_bytes(record.author.record.bytes);
  record.author.device = "from";
  record.author.when = {1'700'000'000'000'000'000};
  record.changes = (*frozen)->changes;
  std::vector<std::pair<ObjectId, PackPlace>> places;
  for (const auto& p : (*frozen)->packs) {
    auto size = from.packs().finish(p.id, p.index);
    EXPECT_TRUE(size.has_value()) << size.error().what();
    auto bytes = from.packs().bytes(p.id, *size);
    EXPECT_TRUE(bytes.has_value());
    packs.emplace_back(p.id, *bytes);
    places.emplace_back(p.id, PackPlace{"obj/" + p.id.str(), 0, *size});
  }
  EXPECT_TRUE(from.packs_uploaded(places).has_value());
  auto published = from.publish(**frozen, record, "log/x", Bytes{1, 2, 3});
  EXPECT_TRUE(published.has_value()) << published.error().what();
  EXPECT_TRUE(from.uploaded("log/x").has_value());
  return record;
}

void Exchange::receive(Replica& to, const OrderedRecord& record, const Packs& packs, bool with_packs) {
  std::vector<std::pair<ObjectId, PackPlace>> places;
  for (const auto& [id, bytes] : packs) {
    places.emplace_back(id, PackPlace{"obj/" + id.str(), 0, bytes.size()});
    if (!with_packs) continue;
    EXPECT_TRUE(to.packs().store_range(id, 0, bytes).has_value());
  }
  auto applied = to.apply(std::span(&record, 1), places, {});
  EXPECT_TRUE(applied.has_value()) << applied.error().what();
}

}  // namespace coffer::test
