// Keeps news out while somebody relies on what an inode number means.
#pragma once

#include <utility>

#include "base/mutex.h"

namespace coffer {

// Many hold it, or one has it closed. Who wants to close it goes first, so that holders who come and go cannot keep news
// away. Not a lock in the sense of base/mutex.h: it is taken before all locks, and held over calls of the replica. A thread
// that holds it must not take it again.
class NewsGate {
 public:
  class Hold {
   public:
    explicit Hold(NewsGate& gate) : gate_(&gate) {}
    Hold(Hold&& o) noexcept : gate_(std::exchange(o.gate_, nullptr)) {}
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (gate_) gate_->let_go();
    }

   private:
    NewsGate* gate_;
  };
  class Closed {
   public:
    explicit Closed(NewsGate& gate) : gate_(&gate) {}
    Closed(Closed&& o) noexcept : gate_(std::exchange(o.gate_, nullptr)) {}
    Closed& operator=(Closed&&) = delete;
    ~Closed() {
      if (gate_) gate_->open();
    }

   private:
    NewsGate* gate_;
  };

  [[nodiscard]] Hold hold() {
    MutexLock lock(mutex_);
    while (closed_) changed_.wait(mutex_);
    ++holders_;
    return Hold(*this);
  }
  // Returns when nobody holds it any more.
  [[nodiscard]] Closed close() {
    MutexLock lock(mutex_);
    while (closed_) changed_.wait(mutex_);
    closed_ = true;
    while (holders_ > 0) changed_.wait(mutex_);
    return Closed(*this);
  }

 private:
  void let_go() {
    MutexLock lock(mutex_);
    if (--holders_ == 0 && closed_) changed_.notify_all();
  }
  void open() {
    MutexLock lock(mutex_);
    closed_ = false;
    changed_.notify_all();
  }

  Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  unsigned holders_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace coffer
