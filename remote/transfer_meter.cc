#include "remote/transfer_meter.h"

namespace coffer {

void TransferMeter::set_limits(uint64_t up, uint64_t down) {
  MutexLock lock(mutex_);
  Nanos now = clock_.monotonic();
  up_.set_rate(up, now);
  down_.set_rate(down, now);
}

StoreCounters TransferMeter::counters() const {
  MutexLock lock(mutex_);
  return counters_;
}

void TransferMeter::count_request(StoreOperation operation) {
  MutexLock lock(mutex_);
  switch (operation) {
    case StoreOperation::kPut:
      ++counters_.put;
      break;
    case StoreOperation::kGet:
      ++counters_.get;
      break;
    case StoreOperation::kList:
      ++counters_.list;
      break;
    case StoreOperation::kRemove:
      ++counters_.remove;
      break;
    case StoreOperation::kOther:
      ++counters_.other;
      break;
  }
}

void TransferMeter::count_retry() {
  MutexLock lock(mutex_);
  ++counters_.retries;
}

size_t TransferMeter::take(Direction direction, size_t want) {
  MutexLock lock(mutex_);
  bool up = direction == Direction::kUp;
  size_t given = (up ? up_ : down_).take(want, clock_.monotonic());
  (up ? counters_.bytes_up : counters_.bytes_down) += given;
  return given;
}

void TransferMeter::charge(Direction direction, size_t bytes) {
  MutexLock lock(mutex_);
  bool up = direction == Direction::kUp;
  (up ? up_ : down_).charge(bytes, clock_.monotonic());
  (up ? counters_.bytes_up : counters_.bytes_down) += bytes;
}

Nanos TransferMeter::delay(Direction direction) const {
  MutexLock lock(mutex_);
  return (direction == Direction::kUp ? up_ : down_).delay(clock_.monotonic());
}

}  // namespace coffer
