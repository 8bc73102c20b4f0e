// What every ObjectStore does: the same suite for each of them. See test_stores.h for which.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "test_stores.h"

namespace coffer {
namespace {

constexpr size_t kNoLimit = 1 << 30;

Bytes pattern(size_t size, uint64_t seed) {
  Bytes bytes(size);
  uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (uint8_t& b : bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    b = static_cast<uint8_t>(x >> 32);
  }
  return bytes;
}

class StoreContract : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    made_ = GetParam().make();
    ASSERT_NE(made_.store, nullptr);
  }
  ObjectStore& store() { return *made_.store; }
  void put(const std::string& key, BytesView data) {
    auto r = store().put(key, data);
    ASSERT_TRUE(r) << r.error().what();
  }
  Bytes get(const std::string& key) {
    auto r = store().get(key, kNoLimit);
    EXPECT_TRUE(r) << r.error().what();
    return r.value_or(Bytes());
  }
  std::map<std::string, uint64_t> list(const std::string& prefix) {
    auto r = store().list(prefix);
    EXPECT_TRUE(r) << r.error().what();
    std::map<std::string, uint64_t> found;
    for (const ObjectInfo& info : r.value_or(std::vector<ObjectInfo>()))
      EXPECT_TRUE(found.emplace(info.key, info.size).second) << info.key << " twice";
    return found;
  }

  Backend::Made made_;
};

TEST_P(StoreContract, gives_back_what_was_put) {
  const std::string id = "00112233445566778899aabbccddeeff";
  std::map<std::string, Bytes> objects;
  for (const std::string& key : {std::string("coffer"), "slot/" + id, "log/" + id + "/1-0a0b", "log/" + id + "/12-ffee",
                                 "obj/00/" + id, "head/" + id})
    objects[key] = pattern(100 + key.size(), objects.size());
  for (const auto& [key, data] : objects) put(key, data);
  for (const auto& [key, data] : objects) EXPECT_EQ(get(key), data) << key;
  std::map<std::string, uint64_t> sizes;
  for (const auto& [key, data] : objects) sizes[key] = data.size();
  EXPECT_EQ(list(""), sizes);
  EXPECT_EQ(list("log/").size(), 2U);
  EXPECT_EQ(list("head/").size(), 1U);
}

TEST_P(StoreContract, gives_ranges) {
  Bytes data = pattern(100'000, 1);
  put("obj/0a/range", data);
  auto check = [&](uint64_t offset, size_t length) {
    auto r = store().get_range("obj/0a/range", offset, length);
    ASSERT_TRUE(r) << r.error().what();
    size_t begin = std::min<uint64_t>(offset, data.size()), end = std::min<uint64_t>(offset + length, data.size());
    EXPECT_EQ(*r, Bytes(data.begin() + static_cast<ptrdiff_t>(begin), data.begin() + static_cast<ptrdiff_t>(end)))
        << offset << "+" << length;
  };
  check(0, 1);
  check(0, 100'000);
  check(0, 200'000);
  check(50'000, 1000);
  check(99'999, 1);
  check(99'000, 5000);
  check(100'000, 10);
  check(1'000'000, 10);
  check(10, 0);
}

TEST_P(StoreContract, holds_empty_objects) {
  put("obj/00/empty", {});
  EXPECT_EQ(get("obj/00/empty"), Bytes());
  EXPECT_EQ(list("obj/"), (std::map<std::string, uint64_t>{{"obj/00/empty", 0}}));
  auto range = store().get_range("obj/00/empty", 0, 10);
  ASSERT_TRUE(range) << range.error().what();
  EXPECT_TRUE(range->empty());
}

TEST_P(StoreContract, holds_large_objects) {
  Bytes data = pattern(8 << 20, 2);
  put("obj/ff/large", data);
  EXPECT_TRUE(get("obj/ff/large") == data);
  auto range = store().get_range("obj/ff/large", (4 << 20) + 7, 1 << 20);
  ASSERT_TRUE(range) << range.error().what();
  EXPECT_TRUE(std::ranges::equal(*range, BytesView(data).subspan((4 << 20) + 7, 1 << 20)));
}

TEST_P(StoreContract, replaces_what_is_there) {
  for (size_t size : {1000, 10, 100'000, 0, 5}) {
    Bytes data = pattern(size, size);
    put("head/x", data);
    EXPECT_EQ(get("head/x"), data);
    EXPECT_EQ(list("head/"), (std::map<std::string, uint64_t>{{"head/x", size}}));
  }
}

TEST_P(StoreContract, readers_never_see_a_torn_object_while_it_is_replaced) {
  std::vector<Bytes> versions;
  for (size_t i = 0; i < 4; ++i) versions.push_back(pattern(20'000 + 50'000 * i, i));
  put("head/torn", versions[0]);
  std::atomic<bool> done = false;
  std::atomic<int> reads = 0;
  auto read = [&] {
    while (!done) {
      auto r = store().get("head/torn", kNoLimit);
      if (r) {
        ++reads;
        bool whole = std::ranges::find(versions, *r) != versions.end();
        EXPECT_TRUE(whole || GetParam().overwrite == Backend::Overwrite::kTorn) << "torn, " << r->size() << " bytes";
      } else if (GetParam().overwrite == Backend::Overwrite::kAtomic || r.error().code() == Code::kCorrupt) {
        ADD_FAILURE() << r.error().what();
      }
    }
  };
  std::jthread a(read), b(read);
  // On until a reader has met a replacement: a store in memory is done before a thread has begun.
  for (size_t i = 0; i < 40 || (reads == 0 && i < 1'000'000); ++i) put("head/torn", versions[i % versions.size()]);
  done = true;
  a.join();
  b.join();
  EXPECT_GT(reads, 0);
}

TEST_P(StoreContract, removes_and_removes_again) {
  put("obj/01/gone", as_bytes("x"));
  for (int i = 0; i < 2; ++i) {
    auto r = store().remove("obj/01/gone");
    EXPECT_TRUE(r) << r.error().what();
  }
  EXPECT_TRUE(store().remove("obj/fe/never-was"));
  EXPECT_TRUE(store().remove("nothing/of/that/kind"));
  auto r = store().get("obj/01/gone", kNoLimit);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kNotFound);
  EXPECT_TRUE(list("obj/").empty());
  put("obj/01/gone", as_bytes("back"));
  EXPECT_EQ(get("obj/01/gone"), to_bytes("back"));
}

TEST_P(StoreContract, says_what_is_not_there) {
  put("coffer", as_bytes("volume"));
  auto whole = store().get("obj/00/absent", kNoLimit);
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().code(), Code::kNotFound) << whole.error().what();
  EXPECT_NE(whole.error().what().find("obj/00/absent"), std::string::npos) << whole.error().what();
  auto range = store().get_range("obj/00/absent", 0, 10);
  ASSERT_FALSE(range);
  EXPECT_EQ(range.error().code(), Code::kNotFound) << range.error().what();
  EXPECT_TRUE(list("slot/").empty());
  EXPECT_TRUE(list("log/00112233445566778899aabbccddeeff/").empty());
}

TEST_P(StoreContract, an_empty_store_lists_nothing) {
  EXPECT_TRUE(list("").empty());
  EXPECT_TRUE(list("head/").empty());
}

TEST_P(StoreContract, keeps_to_the_limit) {
  put("log/l/1-aa", pattern(1000, 3));
  EXPECT_TRUE(store().get("log/l/1-aa", 1000));
  auto r = store().get("log/l/1-aa", 999);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kTooLarge) << r.error().what();
  EXPECT_EQ(get("log/l/1-aa").size(), 1000U);  // and the store still works
}

TEST_P(StoreContract, lists_many_objects) {
  std::map<std::string, uint64_t> all;
  for (size_t i = 0; i < GetParam().many; ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "obj/%02zx/%032zx", i % 16, i * 7919);
    all[name] = i % 10;
  }
  std::vector<std::string> keys;
  for (const auto& [key, size] : all) keys.push_back(key);
  std::atomic<size_t> next = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (size_t i; (i = next++) < keys.size();) put(keys[i], pattern(all[keys[i]], i));
    });
  threads.clear();
  put("head/a", as_bytes("h"));
  EXPECT_EQ(list("obj/"), all);
  std::map<std::string, uint64_t> one;
  for (const auto& [key, size] : all)
    if (key.starts_with("obj/0a/")) one[key] = size;
  EXPECT_EQ(list("obj/0a/"), one);
  EXPECT_TRUE(list("obj/0/").empty());
  all["head/a"] = 1;
  EXPECT_EQ(list(""), all);
}

TEST_P(StoreContract, serves_many_threads) {
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < 12; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 12; ++i) {
        std::string key = "obj/" + std::string(1, static_cast<char>('a' + t)) + "0/" + std::to_string(i);
        Bytes data = pattern((i * 40'009) % 200'000, t * 100 + i);
        put(key, data);
        EXPECT_TRUE(get(key) == data) << key;
        if (i % 3 == 0) {
          EXPECT_TRUE(store().remove(key));
        }
      }
    });
  threads.clear();
  EXPECT_EQ(list("obj/").size(), 12U * 8);
}

TEST_P(StoreContract, a_stop_ends_it) {
  put("obj/00/x", as_bytes("x"));
  std::stop_source stopped;
  stopped.request_stop();
  std::stop_token stop = stopped.get_token();
  auto cancelled = [](const auto& r) { return !r && r.error().code() == Code::kCancelled; };
  EXPECT_TRUE(cancelled(store().put("obj/00/y", as_bytes("y"), stop)));
  EXPECT_TRUE(cancelled(store().get("obj/00/x", kNoLimit, stop)));
  EXPECT_TRUE(cancelled(store().get_range("obj/00/x", 0, 1, stop)));
  EXPECT_TRUE(cancelled(store().list("", stop)));
  EXPECT_TRUE(cancelled(store().remove("obj/00/x", stop)));
  EXPECT_EQ(get("obj/00/x"), to_bytes("x"));
}

TEST_P(StoreContract, a_stop_ends_what_is_under_way) {
  Bytes data = pattern(64 << 20, 4);
  std::stop_source source;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    source.request_stop();
  });
  auto r = store().put("obj/00/big", data, source.get_token());
  stopper.join();
  if (!r) {
    EXPECT_EQ(r.error().code(), Code::kCancelled) << r.error().what();
    // Whatever is there now, it is not half of it.
    auto there = store().get("obj/00/big", kNoLimit);
    if (there) {
      EXPECT_TRUE(*there == data);
    } else {
      EXPECT_EQ(there.error().code(), Code::kNotFound) << there.error().what();
    }
  }
  put("obj/00/after", as_bytes("works"));
  EXPECT_EQ(get("obj/00/after"), to_bytes("works"));
}

TEST_P(StoreContract, refuses_what_is_no_key) {
  for (const std::string& key :
       {std::string(""), std::string("/a"), std::string("a/"), std::string("a//b"), std::string("../a"),
        std::string("a/../b"), std::string(".a"), std::string("a/.b"), std::string("a b"), std::string("a%2fb"),
        std::string("\xc3\xa9"), std::string("a\0b", 3), std::string(201, 'a')}) {
    auto invalid = [](const auto& r) { return !r && r.error().code() == Code::kInvalid; };
    EXPECT_TRUE(invalid(store().put(key, as_bytes("x")))) << key;
    EXPECT_TRUE(invalid(store().get(key, kNoLimit))) << key;
    EXPECT_TRUE(invalid(store().get_range(key, 0, 1))) << key;
    EXPECT_TRUE(invalid(store().remove(key))) << key;
    if (!key.empty() && key != "a/") {  // these are prefixes
      EXPECT_TRUE(invalid(store().list(key))) << key;
    }
  }
  auto no_slash = store().list("obj");
  ASSERT_FALSE(no_slash);
  EXPECT_EQ(no_slash.error().code(), Code::kInvalid);
}

TEST_P(StoreContract, skips_foreign_names) {
  put("obj/00/ours", as_bytes("ours"));
  put("head/h", as_bytes("hint"));
  size_t planted = 0;
  for (const std::string& name :
       {std::string("obj/00/with blank"), std::string("obj/00/.hidden"), std::string("obj/per%63ent%"),
        std::string("obj/00/a&b<c>\"d'"), std::string("obj/00/\xc3\xa9\xe2\x82\xac"), std::string("obj/00/plus+plus"),
        std::string("obj/00/semi;colon=1"), std::string("readme (1).txt"), std::string("obj/~tilde")})
    planted += made_.plant(name, as_bytes("foreign")) ? 1 : 0;
  EXPECT_GE(planted, 6U);
  EXPECT_EQ(list("obj/"), (std::map<std::string, uint64_t>{{"obj/00/ours", 4}}));
  EXPECT_EQ(list(""), (std::map<std::string, uint64_t>{{"obj/00/ours", 4}, {"head/h", 4}}));
  EXPECT_EQ(get("obj/00/ours"), to_bytes("ours"));
}

TEST_P(StoreContract, describes_itself_without_credentials) {
  std::string text = store().describe();
  EXPECT_FALSE(text.empty());
  for (const char* secret : {"AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"})
    if (const char* value = std::getenv(secret)) {
      EXPECT_EQ(text.find(value), std::string::npos);
    }
}

INSTANTIATE_TEST_SUITE_P(stores, StoreContract, ::testing::ValuesIn(test_backends()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace coffer
