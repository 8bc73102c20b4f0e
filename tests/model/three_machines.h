// Three machines that change one tree without having seen each other, for tests of the rules of apply(): `a` is the earlier in
// the order of records, `b` the later; what they end with is compared everywhere, also with one who only applied the records.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/model/machine.h"

namespace coffer::model {

class ThreeMachines : public ::testing::Test {
 protected:
  // What all have seen.
  template <typename F>
  void given(F f) {
    must(a.run([&](Rows& rows) -> Result<void> {
      make_root(rows, 0755, 0, 0, a.now());
      return {};
    }));
    f(a);
    sync();
  }
  void given() {
    given([](Machine&) {});
  }

  // Everybody publishes, then gets everything.
  void sync() {
    for (Machine* m : all_)
      if (auto r = m->publish()) records_.push_back(*r);
    for (Machine* m : all_) m->receive(records_);
    // What came of what was pending.
    for (Machine* m : all_)
      if (auto r = m->publish()) records_.push_back(*r);
    for (Machine* m : all_) m->receive(records_);
    verify();
  }

  // One publishes, nobody gets it yet.
  void publish(Machine& m) {
    if (auto r = m.publish()) records_.push_back(*r);
  }

  void verify() {
    Machine fresh(99);
    fresh.receive(records_);
    fresh.check();
    for (Machine* m : all_) {
      m->check();
      EXPECT_EQ(m->hash(), fresh.hash()) << "machine " << m->id() << "\n" << m->describe() << "\n" << fresh.describe();
    }
  }

  // The name of the only conflict copy in a directory.
  std::string copy_in(const std::string& dir = "") {
    std::string found;
    for (const std::string& n : a.names(dir))
      if (n.find("(conflict, ") != std::string::npos) {
        EXPECT_TRUE(found.empty()) << found << " and " << n;
        found = n;
      }
    EXPECT_FALSE(found.empty()) << a.describe();
    return dir.empty() ? found : dir + "/" + found;
  }

  Machine a{1}, b{2}, c{3};
  std::vector<Machine*> all_{&a, &b, &c};
  std::vector<Record> records_;
};

}  // namespace coffer::model
