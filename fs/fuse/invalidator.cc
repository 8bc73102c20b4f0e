#include "fs/fuse/invalidator.h"

#include <algorithm>
#include <utility>

#include "base/thread.h"

namespace coffer::fuse {

Invalidator::Invalidator(Replica& replica, std::shared_ptr<Nodes> nodes, KernelCaches& kernel)
    : replica_(replica), nodes_(std::move(nodes)), kernel_(kernel) {
  for (int i = 0; i < kThreads; ++i) threads_.push_back(start_thread("coffer-inval", [this] { work(); }));
}

Invalidator::~Invalidator() { stop(); }

void Invalidator::stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  threads_.clear();
}

void Invalidator::push(const model::Touch& touch) {
  for (const model::Name& name : touch.names) queue_name(name);
  for (Ino ino : touch.contents) queue_contents(ino);
  for (Ino ino : touch.attributes) queue_attributes(ino);
}

void Invalidator::queue_name(const model::Name& name) {
  auto dir = nodes_->known(name.dir);
  if (!dir) return;  // then the kernel knows no name in it either
  auto now = replica_.lookup(name.dir, name.name);
  bool gently = now && now->inode.is_directory() && nodes_->known(now->ino);
  queue(*dir, [&](Directory& d) { d.names.push_back({name.name, gently}); });
}

void Invalidator::queue_contents(Ino ino) {
  auto names = replica_.names_of(ino);
  if (!names) return;
  for (const model::Name& name : *names) {
    auto dir = nodes_->known(name.dir);
    if (dir) queue(*dir, [&](Directory& d) { d.names.push_back({name.name, false}); });
  }
}

void Invalidator::queue_attributes(Ino ino) {
  auto inode = replica_.attributes(ino);
  if (inode && inode->nlink == 0) {
    // News took the last name: it is ours to say when the kernel has let go of it.
    if (!nodes_->mark_unlinked(ino)) replica_.forget(ino);
  } else if (inode) {
    nodes_->mark_linked(ino);
  }
  auto id = nodes_->known(ino);
  if (!id) return;
  queue(0, [&](Directory& d) { d.attributes.push_back(*id); });
  // A lookup that is under way may carry the old attributes, and the kernel may not know the inode before it ends.
  auto names = replica_.names_of(ino);
  if (!names) return;
  for (const model::Name& name : *names) {
    auto dir = nodes_->known(name.dir);
    if (dir) queue(*dir, [&](Directory& d) { d.attributes.push_back(*id); });
  }
}

template <typename Change>
void Invalidator::queue(NodeId dir, Change&& change) {
  MutexLock lock(mutex_);
  if (stopping_) return;
  auto [it, fresh] = directories_.try_emplace(dir);
  if (fresh) order_.push_back(dir);
  change(it->second);
  changed_.notify_all();
}

void Invalidator::drain() {
  MutexLock lock(mutex_);
  while (!stopping_ && !(order_.empty() && busy_.empty())) changed_.wait(mutex_);
}

void Invalidator::work() {
  for (;;) {
    NodeId dir = 0;
    Directory what;
    {
      MutexLock lock(mutex_);
      for (;;) {
        if (stopping_) return;
        auto next = std::find_if(order_.begin(), order_.end(),
                                 [this](NodeId d) NO_THREAD_SAFETY_ANALYSIS { return !busy_.contains(d); });
        if (next != order_.end()) {
          dir = *next;
          order_.erase(next);
          break;
        }
        changed_.wait(mutex_);
      }
      auto it = directories_.find(dir);
      what = std::move(it->second);
      directories_.erase(it);
      busy_.insert(dir);
    }
    tell(dir, what);
    {
      MutexLock lock(mutex_);
      busy_.erase(dir);
      changed_.notify_all();
    }
  }
}

void Invalidator::tell(NodeId dir, const Directory& what) {
  for (const Name& name : what.names) {
    if (name.gently)
      kernel_.expire_name(dir, name.name);
    else
      kernel_.drop_name(dir, name.name);
  }
  // The listing last: a readdir that was under way has filled it with what was, and has ended now.
  if (!what.names.empty()) kernel_.drop_listing(dir);
  if (what.attributes.empty()) return;
  if (dir != 0 && what.names.empty()) kernel_.wait_for_lookups(dir);
  for (NodeId id : what.attributes) kernel_.drop_attributes(id);
}

}  // namespace coffer::fuse
