// The order of what the kernel is told, against a kernel that can be made to hang.
#include "fs/fuse/invalidator.h"

#include <gtest/gtest.h>

#include "tests/fuse/fixture.h"

namespace coffer::fuse {
namespace {

class FakeKernel : public KernelCaches {
 public:
  void drop_name(NodeId dir, const std::string& name) override {
    call("drop " + std::to_string(dir) + " " + name, dir);
  }
  void expire_name(NodeId dir, const std::string& name) override {
    call("expire " + std::to_string(dir) + " " + name, dir);
  }
  void wait_for_lookups(NodeId dir) override { call("wait " + std::to_string(dir), dir); }
  void drop_attributes(NodeId id) override { call("attributes " + std::to_string(id), 0); }
  void write_back(NodeId id, uint64_t) override { call("write back " + std::to_string(id), 0); }
  void drop_listing(NodeId dir) override { call("listing " + std::to_string(dir), dir); }

  void hang(NodeId dir, bool hangs) {
    MutexLock lock(mutex_);
    if (hangs)
      hanging_.insert(dir);
    else
      hanging_.erase(dir);
    changed_.notify_all();
  }
  std::vector<std::string> take() {
    MutexLock lock(mutex_);
    return std::exchange(calls_, {});
  }
  bool has(const std::string& call) {
    MutexLock lock(mutex_);
    return std::find(calls_.begin(), calls_.end(), call) != calls_.end();
  }

 private:
  void call(const std::string& what, NodeId dir) {
    MutexLock lock(mutex_);
    while (hanging_.contains(dir)) changed_.wait(mutex_);
    calls_.push_back(what);
  }
  Mutex mutex_{Rank::kLeaf};
  CondVar changed_;
  std::set<NodeId> hanging_ GUARDED_BY(mutex_);
  std::vector<std::string> calls_ GUARDED_BY(mutex_);
};

class InvalidatorTest : public testing::Test {
 protected:
  void SetUp() override {
    replica_ = open_replica(volume_, state_.path(), "here");
    ASSERT_TRUE(replica_->make_root().has_value());
  }
  // Made, and known to the kernel.
  Ino make(Ino dir, const std::string& name, model::FileType type) {
    auto node = replica_->make(dir, name, {type, 0755, 0, 0, 0, ""});
    EXPECT_TRUE(node.has_value());
    EXPECT_TRUE(nodes_->acquire(node->ino, nodes_->ticket()).has_value());
    return node->ino;
  }
  Ino directory(Ino dir, const std::string& name) { return make(dir, name, model::FileType::kDirectory); }
  Ino file(Ino dir, const std::string& name) { return make(dir, name, model::FileType::kRegular); }

  TempDir state_;
  TestVolume volume_;
  std::unique_ptr<Replica> replica_;
  std::shared_ptr<Nodes> nodes_ = std::make_shared<Nodes>();
  FakeKernel kernel_;
};

using Calls = std::vector<std::string>;

TEST_F(InvalidatorTest, NamesFirstThenTheListing) {
  Invalidator invalidator(*replica_, nodes_, kernel_);
  Ino d = directory(1, "d");
  invalidator.push({.names = {{1, "gone"}, {1, "d"}}, .contents = {}, .attributes = {}});
  invalidator.drain();
  // The thread may begin before both are queued: then the listing goes twice, but always after the names so far.
  Calls calls = kernel_.take();
  ASSERT_FALSE(calls.empty());
  EXPECT_EQ(calls.back(), "listing 1");
  std::erase(calls, "listing 1");
  EXPECT_EQ(calls, (Calls{"drop 1 gone", "expire 1 d"}));
  (void)d;
}

TEST_F(InvalidatorTest, WhatTheKernelDoesNotKnowIsNotTold) {
  Invalidator invalidator(*replica_, nodes_, kernel_);
  Ino d = directory(1, "d");
  nodes_->release(d, 1);
  invalidator.push({.names = {{d, "x"}}, .contents = {}, .attributes = {d}});
  invalidator.drain();
  EXPECT_EQ(kernel_.take(), Calls{});
}

TEST_F(InvalidatorTest, ContentsSupersedeAndDropEveryName) {
  Invalidator invalidator(*replica_, nodes_, kernel_);
  Ino d = directory(1, "d");
  Ino f = file(1, "f");
  ASSERT_TRUE(replica_->link(f, d, "g").has_value());
  EXPECT_TRUE(nodes_->supersede(f, f));
  invalidator.push({.names = {}, .contents = {f}, .attributes = {}});
  invalidator.drain();
  auto calls = kernel_.take();
  EXPECT_NE(std::find(calls.begin(), calls.end(), "drop 1 f"), calls.end());
  EXPECT_NE(std::find(calls.begin(), calls.end(), "drop " + std::to_string(d) + " g"), calls.end());
}

TEST_F(InvalidatorTest, AttributesAreDroppedAgainAfterLookupsUnderWay) {
  Invalidator invalidator(*replica_, nodes_, kernel_);
  Ino f = file(1, "f");
  invalidator.push({.names = {}, .contents = {}, .attributes = {f}});
  invalidator.drain();
  auto calls = kernel_.take();
  ASSERT_FALSE(calls.empty());
  auto waited = std::find(calls.begin(), calls.end(), "wait 1");
  ASSERT_NE(waited, calls.end());
  EXPECT_NE(std::find(waited, calls.end(), "attributes " + std::to_string(f)), calls.end());
}

TEST_F(InvalidatorTest, OneStuckDirectoryDelaysNoOther) {
  Invalidator invalidator(*replica_, nodes_, kernel_);
  Ino stuck = directory(1, "stuck"), free = directory(1, "free");
  kernel_.hang(stuck, true);
  for (int i = 0; i < 100; ++i)
    invalidator.push(
        {.names = {{stuck, std::to_string(i)}, {free, std::to_string(i)}}, .contents = {}, .attributes = {}});
  EXPECT_TRUE(eventually([&] { return kernel_.has("drop " + std::to_string(free) + " 99"); }));
  EXPECT_FALSE(kernel_.has("drop " + std::to_string(stuck) + " 0"));
  kernel_.hang(stuck, false);
  invalidator.drain();
  EXPECT_TRUE(kernel_.has("drop " + std::to_string(stuck) + " 99"));
}

TEST_F(InvalidatorTest, PushAfterStopIsHarmless) {
  Invalidator invalidator(*replica_, nodes_, kernel_);
  invalidator.stop();
  invalidator.push({.names = {{1, "x"}}, .contents = {}, .attributes = {}});
  invalidator.drain();
  EXPECT_EQ(kernel_.take(), Calls{});
}

}  // namespace
}  // namespace coffer::fuse
