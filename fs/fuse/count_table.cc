#include "fs/fuse/count_table.h"

#include <bit>
#include <utility>

namespace coffer::fuse {

namespace {

constexpr size_t kLeastSlots = 16;

}  // namespace

size_t CountTable::home(uint64_t key) const {
  // Keys come in runs: multiplying by the golden ratio spreads them over the upper bits.
  return static_cast<size_t>((key * 0x9e3779b97f4a7c15u) >> (64 - std::countr_zero(slots_.size())));
}

size_t CountTable::find(uint64_t key) const {
  size_t i = home(key);
  while (slots_[i].key != 0 && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
  return i;
}

bool CountTable::contains(uint64_t key) const { return key != 0 && !slots_.empty() && slots_[find(key)].key == key; }

uint64_t CountTable::add(uint64_t key, uint64_t count) {
  if (slots_.empty()) resize(kLeastSlots);
  size_t i = find(key);
  if (slots_[i].key == 0) {
    if ((size_ + 1) * 4 > slots_.size() * 3) {
      resize(slots_.size() * 2);
      i = find(key);
    }
    slots_[i] = {key, 0};
    ++size_;
  }
  return slots_[i].count += count;
}

uint64_t CountTable::subtract(uint64_t key, uint64_t count) {
  if (slots_.empty()) return 0;
  size_t i = find(key);
  if (slots_[i].key == 0) return 0;
  if (slots_[i].count > count) return slots_[i].count -= count;
  remove_at(i);
  --size_;
  if (slots_.size() > kLeastSlots && size_ * 8 < slots_.size()) resize(slots_.size() / 2);
  return 0;
}

void CountTable::remove_at(size_t hole) {
  size_t mask = slots_.size() - 1;
  for (size_t i = (hole + 1) & mask; slots_[i].key != 0; i = (i + 1) & mask) {
    // A slot may fill the hole when the hole lies between its home and itself.
    size_t from_home = (i - home(slots_[i].key)) & mask;
    size_t from_hole = (i - hole) & mask;
    if (from_home < from_hole) continue;
    slots_[hole] = slots_[i];
    hole = i;
  }
  slots_[hole] = {};
}

void CountTable::resize(size_t slots) {
  std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
  for (const Slot& s : old)
    if (s.key != 0) slots_[find(s.key)] = s;
}

}  // namespace coffer::fuse
