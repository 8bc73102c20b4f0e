#include "crypto/key_ring.h"

#include "crypto/random.h"
#include "crypto/require.h"

namespace coffer {
namespace {

constexpr int kRandomBits = 20;
constexpr Epoch kGenerations = Epoch{1} << (32 - kRandomBits);

}  // namespace

Result<Epoch> next_epoch(const std::map<Epoch, Secret>& keys) {
  const Epoch before = keys.empty() ? 0 : keys.rbegin()->first >> kRandomBits;
  if (before + 1 >= kGenerations) return fail(Code::kTooLarge, "the volume has had all epochs that there can be");
  const auto low = static_cast<Epoch>(random_u64() & ((Epoch{1} << kRandomBits) - 1));
  return ((before + 1) << kRandomBits) | low;
}

KeyRing::KeyRing(const std::map<Epoch, Secret>& keys) {
  internal::require(!keys.empty(), "a key ring without keys");
  add(keys);
}

KeyRing::KeyRing(Epoch epoch, const Secret& key) {
  std::map<Epoch, Secret> one;
  one.emplace(epoch, key.clone());
  add(one);
}

const EpochKeys* KeyRing::find(Epoch epoch) const {
  MutexLock lock(mutex_);
  auto it = keys_.find(epoch);
  return it == keys_.end() ? nullptr : &it->second;
}

std::vector<const EpochKeys*> KeyRing::all() const {
  MutexLock lock(mutex_);
  std::vector<const EpochKeys*> out;
  for (auto it = keys_.rbegin(); it != keys_.rend(); ++it) out.push_back(&it->second);
  return out;
}

bool KeyRing::may_come(Epoch epoch) const {
  const Epoch generation = epoch >> kRandomBits;
  return generation > 0 && generation >= newest().epoch() >> kRandomBits;
}

size_t KeyRing::add(const std::map<Epoch, Secret>& keys) {
  MutexLock lock(mutex_);
  size_t fresh = 0;
  for (const auto& [epoch, key] : keys)
    if (!keys_.contains(epoch)) fresh += keys_.emplace(epoch, EpochKeys(epoch, key)).second;
  size_ = keys_.size();
  newest_.store(&keys_.rbegin()->second, std::memory_order_release);
  return fresh;
}

}  // namespace coffer
