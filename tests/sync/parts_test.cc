// New devices that begin with a part of a checkpoint, and load the rest of it when it is needed, or later.
#include <condition_variable>
#include <functional>
#include <mutex>

#include "fs/replica/row_parts.h"
#include "fs/replica/snapshot.h"
#include "tests/sync/checkpoint_fixture.h"

namespace coffer::test {
namespace {

using model::Ino;
using model::kRootIno;
using std::chrono::hours;
using std::chrono::milliseconds;

constexpr int kDirectories = 8, kFiles = 60;
constexpr size_t kRowsOfAPart = 40;

class PartsTest : public WithCheckpoints {
 protected:
  // Begins with a part of whatever there is; the rest comes only when it is asked for.
  static SyncOptions partly(Nanos quiet = hours(1)) {
    SyncOptions o = quick_options();
    o.parts_from = 1;
    o.parts_quiet = quiet;
    return o;
  }
  static std::string file(int i) { return "file " + std::to_string(i); }
  static std::string directory(int i) { return "directory " + std::to_string(i); }
  void fill(Device& d, size_t rows_of_a_part = kRowsOfAPart) {
    Replica& r = d.replica();
    for (int i = 0; i < kDirectories; ++i) {
      d.mkdir(directory(i));
      TAKE(Ino dir, d.find(directory(i)));
      model::NewInode what;
      what.mode = 0644;
      for (int k = 0; k < kFiles; ++k) ASSERT_OK(r.make(dir, file(k), what));
      d.write(directory(i) + "/content", noise(100'000, static_cast<uint64_t>(i)));
      TAKE(Ino content, d.find(directory(i) + "/content"));
      ASSERT_OK(r.link(content, dir, "linked"));
      ASSERT_OK(r.set_xattr(content, "user.x", text(300, 3), model::XattrMode::kAny));
    }
    wait_for_checkpoint(d);
    recut(d, rows_of_a_part);
  }
  static std::set<size_t> missing(Device& d) {
    std::set<size_t> out;
    for (size_t i = 0; i < d.replica().parts().count(); ++i)
      if (!d.replica().parts().here(i)) out.insert(i);
    return out;
  }
  static Result<void> bring(Device& d, const std::set<size_t>& parts) {
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<Result<void>> answer;
    d.sync_engine().fetch_parts(parts, {}, [&](Result<void> r) {
      std::lock_guard lock(mutex);
      answer = std::move(r);
      answered.notify_all();
    });
    std::unique_lock lock(mutex);
    answered.wait(lock, [&] { return answer.has_value(); });
    return *answer;
  }
  // What the kernel side does: an operation that needs a part waits for it, and begins anew. Counts how often it waited.
  template <typename Op>
  static auto waiting(Device& d, Op&& op, int* rounds = nullptr) -> decltype(op()) {
    for (;;) {
      PartWishes wishes;
      auto result = op();
      if (result || wishes.missed().empty()) return result;
      if (rounds) ++*rounds;
      if (auto come = bring(d, wishes.missed()); !come) return std::unexpected(come.error());
    }
  }
  static Result<Ino> find(Device& d, const std::string& path) {
    return waiting(d, [&] { return d.find(path); });
  }
  static Result<model::Node> make(Device& d, Ino dir, const std::string& name) {
    model::NewInode what;
    what.mode = 0644;
    return waiting(d, [&] { return d.replica().make(dir, name, what); });
  }
  static void write(Device& d, Ino ino, BytesView bytes) {
    ASSERT_OK(waiting(d, [&] { return d.replica().write(ino, 0, bytes, false); }));
  }
  static void load_rest(Device& d) {
    ASSERT_OK(d.sync_engine().load_rest({}));
    EXPECT_FALSE(d.replica().parts().loading());
  }
  void break_logs(Device& d, bool broken) {
    if (!broken) return d.faults().set_hook(nullptr);
    d.faults().set_hook([](const FaultCall& call) {
      Fault f;
      if (call.operation == StoreOperation::kGet && call.key.starts_with(kLogPrefix))
        f.fail_before = Code::kUnavailable;
      return f;
    });
  }
};

TEST_F(PartsTest, WhatIsLookedAtComesAndTheRestLater) {
  auto a = device("a", eager());
  fill(*a);
  Device c(volume_, memory_, "c", partly());
  c.start();
  ASSERT_TRUE(c.replica().parts().loading());
  ASSERT_GT(missing(c).size(), 4u);
  TAKE(auto names, c.replica().list(kRootIno, 0, 100));  // without waiting
  EXPECT_EQ(names.size(), static_cast<size_t>(kDirectories));
  TAKE(Ino dir, find(c, directory(3)));
  TAKE(auto files, waiting(c, [&] { return c.replica().list(dir, 0, 10'000); }));
  EXPECT_EQ(files.size(), static_cast<size_t>(kFiles + 2));
  EXPECT_GT(missing(c).size(), 2u);
  EXPECT_EQ(waiting(c, [&] { return c.read(directory(3) + "/content"); }).value(), noise(100'000, 3));
  EXPECT_CODE(Code::kNotFound, waiting(c, [&] { return c.find(directory(3) + "/none"); }));
  // What needs the whole says that it is not there.
  TAKE(auto snapshot, c.replica().snapshot());
  EXPECT_FALSE(snapshot);
  EXPECT_CODE(Code::kUnavailable, c.replica().find_faults());

  load_rest(c);
  expect_equal({a.get(), &c});
  EXPECT_EQ(c.problems(), "");
  TAKE(auto rows, c.replica().rows_with_prefix("Mp"));
  EXPECT_TRUE(rows.empty());
}

TEST_F(PartsTest, TheRestComesByItselfWhenItIsQuiet) {
  auto a = device("a", eager());
  fill(*a);
  Device c(volume_, memory_, "c", partly(milliseconds(10)));
  c.start();
  wait_until([&] { return !c.replica().parts().loading(); });
  expect_equal({a.get(), &c});
  EXPECT_EQ(c.problems(), "");
}

TEST_F(PartsTest, ChangesBeforeAllIsHereStay) {
  auto a = device("a", eager());
  fill(*a);
  Device c(volume_, memory_, "c", partly());
  c.start();
  TAKE(Ino seen, find(c, directory(1)));
  ASSERT_OK(waiting(c, [&] { return c.replica().list(seen, 0, 10'000); }));
  TAKE(auto listed, c.replica().list(kRootIno, 0, 100));
  const Ino unseen = listed[6].entry.ino;
  // In a directory that is here, and in one that is not.
  for (Ino dir : {seen, unseen}) {
    TAKE(model::Node made, make(c, dir, "made by c"));
    write(c, made.ino, text(5000, 7));
    TAKE(model::Node other, make(c, dir, "replaces"));
    write(c, other.ino, text(100, 8));
    ASSERT_OK(
        waiting(c, [&] { return c.replica().rename(dir, "replaces", dir, file(5), model::RenameMode::kReplace); }));
    ASSERT_OK(waiting(c, [&] { return c.replica().unlink(dir, file(6)); }));
    TAKE(model::Unlinked gone, waiting(c, [&] { return c.replica().unlink(dir, "content"); }));
    EXPECT_FALSE(gone.last);
    TAKE(model::Node linked, waiting(c, [&] { return c.replica().lookup(dir, "linked"); }));
    write(c, linked.ino, text(3000, 9));
    ASSERT_OK(
        waiting(c, [&] { return c.replica().set_xattr(linked.ino, "user.y", Bytes{1}, model::XattrMode::kAny); }));
  }
  ASSERT_OK(waiting(c, [&] { return c.replica().unlink(unseen, "linked"); }));
  EXPECT_TRUE(c.replica().parts().loading());
  c.must_sync();  // what is published does not wait for the rest
  EXPECT_TRUE(c.replica().parts().loading());
  a->must_sync();
  load_rest(c);
  expect_equal({a.get(), &c});
  EXPECT_EQ(c.read(directory(1) + "/made by c").value(), text(5000, 7));
  EXPECT_EQ(c.read(directory(1) + "/" + file(5)).value(), text(100, 8));
  EXPECT_CODE(Code::kNotFound, c.find(directory(1) + "/" + file(6)));
  EXPECT_CODE(Code::kNotFound, c.find(directory(6) + "/linked"));
  EXPECT_EQ(c.problems(), "");
}

TEST_F(PartsTest, NewsThatComesMeanwhileWaitsForWhatItTouches) {
  auto a = device("a", eager());
  fill(*a);
  Device c(volume_, memory_, "c", partly());
  c.start();
  ASSERT_TRUE(c.replica().parts().loading());
  c.write("of c", text(100, 1));
  a->write(directory(2) + "/content", text(200, 2));
  a->remove(directory(5) + "/linked");
  a->mkdir(directory(7) + "/new");
  TAKE(Ino from, a->find(directory(4)));
  TAKE(Ino to, a->find(directory(0)));
  ASSERT_OK(a->replica().rename(from, file(1), to, "moved", model::RenameMode::kReplace));
  a->must_sync();
  c.must_sync();
  a->must_sync();
  EXPECT_TRUE(c.replica().parts().loading());
  EXPECT_EQ(waiting(c, [&] { return c.read(directory(2) + "/content"); }).value().size(), 100'000u);
  EXPECT_CODE(Code::kNotFound, waiting(c, [&] { return c.find(directory(5) + "/linked"); }));
  ASSERT_OK(find(c, directory(0) + "/moved"));
  load_rest(c);
  settle({a.get(), &c});
  expect_equal({a.get(), &c});
  EXPECT_EQ(c.problems(), "");
}

TEST_F(PartsTest, LoadingGoesOnAfterAnEndAtAnyStep) {
  auto a = device("a", eager());
  fill(*a, 250);
  Device c(volume_, memory_, "c", partly());
  c.start();
  c.write("before", text(1000, 1));
  size_t left = missing(c).size();
  for (int step = 0; left > 0; ++step) {
    SCOPED_TRACE(step);
    const bool after = step % 2 == 1;
    arm_failpoints(after ? "replica.part_put=error" : "replica.put_part=error");
    (void)bring(c, {*missing(c).begin()});
    arm_failpoints("");
    c.write("of step " + std::to_string(step), text(100, 1));
    c.restart();
    ASSERT_OK(find(c, "of step " + std::to_string(step)));
    if (missing(c).empty()) break;
    ASSERT_OK(bring(c, {*missing(c).begin()}));
    c.restart();
    EXPECT_LT(missing(c).size(), left);
    left = missing(c).size();
  }
  arm_failpoints("replica.end_parts=error");
  c.restart();
  arm_failpoints("");
  load_rest(c);
  settle({&c, a.get()});
  expect_equal({a.get(), &c});
}

TEST_F(PartsTest, ADamagedOrMissingPartIsToldAndTheStateMadeAnew) {
  auto a = device("a", eager());
  fill(*a);
  for (bool damaged : {true, false}) {
    SCOPED_TRACE(damaged);
    wait_for_checkpoint(*a);
    recut(*a, kRowsOfAPart);
    Checkpoint checkpoint;
    std::vector<Row> rows;
    open_newest(checkpoint, rows);
    SyncOptions options = partly();
    options.fetch_timeout = milliseconds(300);
    Device c(volume_, memory_, "c", options);
    c.start();
    c.write("of c " + std::to_string(damaged), text(100, 1));
    const std::set<size_t> left = missing(c);
    ASSERT_GT(left.size(), 2u);
    const size_t victim = *left.begin();
    const std::string object = pack_key(checkpoint.segments[victim].id);
    TAKE(Bytes whole, memory_->get(object, 8 << 20));
    Bytes bad = whole;
    bad[bad.size() / 2] ^= 1;
    ASSERT_OK(memory_->remove(object));
    if (damaged) ASSERT_OK(memory_->put(object, bad));
    // While the records cannot be had either: nothing of it is served, and who needs it is told in the end.
    break_logs(c, true);
    EXPECT_CODE(Code::kTimedOut, bring(c, {victim}));
    EXPECT_FALSE(c.replica().parts().here(victim));
    EXPECT_NE(c.problems().find("is refused"), std::string::npos) << c.problems();
    break_logs(c, false);
    wait_until([&] { return !c.replica().parts().loading(); });
    settle({&c, a.get()});
    expect_equal({a.get(), &c});
    EXPECT_EQ(c.read(directory(3) + "/content").value(), noise(100'000, 3));
    ASSERT_OK(memory_->remove(object));
    ASSERT_OK(memory_->put(object, whole));
    c.stop();
    a->must_sync();
  }
}

TEST_F(PartsTest, WithoutTheStoreWhatIsHereWorks) {
  auto a = device("a", eager());
  fill(*a);
  SyncOptions options = partly();
  options.fetch_timeout = milliseconds(300);
  Device c(volume_, memory_, "c", options);
  c.start();
  TAKE(Ino seen, find(c, directory(1)));
  ASSERT_OK(waiting(c, [&] { return c.replica().list(seen, 0, 10'000); }));
  c.faults().set_hook([](const FaultCall&) {
    Fault f;
    f.fail_before = Code::kUnavailable;
    return f;
  });
  TAKE(auto names, c.replica().list(kRootIno, 0, 100));
  // Made here, so nothing is to be looked for.
  TAKE(model::Node made, c.replica().make(seen, "offline", {}));
  ASSERT_OK(c.replica().write(made.ino, 0, noise(3 << 20, 1), false));
  ASSERT_OK(c.replica().sync_all(true));
  ASSERT_OK(c.replica().set_xattr(made.ino, "user.x", Bytes{1}, model::XattrMode::kAny));
  ASSERT_OK(c.replica().link(made.ino, seen, "offline too"));
  ASSERT_OK(c.replica().rename(seen, "offline", kRootIno, "moved", model::RenameMode::kReplace));
  ASSERT_OK(c.replica().unlink(seen, "offline too"));
  EXPECT_CODE(Code::kTimedOut, waiting(c, [&] { return c.find(directory(6) + "/" + file(1)); }));
  c.restart();
  c.faults().set_hook(nullptr);
  ASSERT_OK(waiting(c, [&] { return c.find(directory(6) + "/" + file(1)); }));
  load_rest(c);
  settle({&c, a.get()});
  expect_equal({a.get(), &c});
}

}  // namespace
}  // namespace coffer::test
