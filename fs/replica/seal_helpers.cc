#include "fs/replica/seal_helpers.h"

#include "base/thread.h"

namespace coffer {

SealHelpers::SealHelpers() {
  for (size_t i = 0; i < kThreads; ++i) threads_.push_back(start_thread("coffer-sealing", [this] { help(); }));
}

SealHelpers::~SealHelpers() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  threads_.clear();
}

void SealHelpers::run(size_t count, const std::function<void(size_t)>& job) {
  if (count < kWorthIt) {
    for (size_t i = 0; i < count; ++i) job(i);
    return;
  }
  Task task{&job, count};
  MutexLock lock(mutex_);
  tasks_.push_back(&task);
  wake_.notify_all();
  work_on(task);
  while (task.active > 0) done_.wait(mutex_);
}

void SealHelpers::work_on(Task& task) {
  ++task.active;  // from here on run() does not return
  while (task.next < task.count) {
    size_t i = task.next++;
    if (task.next == task.count) std::erase(tasks_, &task);
    mutex_.unlock();
    (*task.job)(i);
    mutex_.lock();
  }
  if (--task.active == 0) done_.notify_all();
}

void SealHelpers::help() {
  MutexLock lock(mutex_);
  for (;;) {
    while (tasks_.empty() && !stopping_) wake_.wait(mutex_);
    if (stopping_) return;
    work_on(*tasks_.front());
  }
}

}  // namespace coffer
