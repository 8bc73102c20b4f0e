// Micro benchmark of the layer cache: frames and packs, journal, table. Prints; asserts nothing.
//   cache_bench [DIRECTORY]      which should be on the disk to be measured; default: the current one
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cache/journal.h"
#include "cache/pack_store.h"
#include "cache/table.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "tests/bench/must.h"

namespace coffer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// How long each of `n` calls takes: a line with rate and percentiles.
void measure(const std::string& what, size_t n, const std::function<void(size_t)>& call) {
  std::vector<double> us(n);
  auto start = Clock::now();
  for (size_t i = 0; i < n; ++i) {
    auto t = Clock::now();
    call(i);
    us[i] = seconds_since(t) * 1e6;
  }
  double total = seconds_since(start);
  std::sort(us.begin(), us.end());
  std::printf("%-58s %9.0f/s  p50 %8.2f us  p99 %8.2f us\n", what.c_str(), static_cast<double>(n) / total, us[n / 2],
              us[n * 99 / 100]);
}

struct Keys {
  VolumeId volume = random_id<VolumeId>();
  KeyRing epoch{1, Secret::random(32)};
  LocalKeys local{Secret::random(32), Secret::random(32).view()};
};

// About three to one, as source code is.
Bytes words(size_t size) {
  std::mt19937_64 random(1);
  std::vector<std::string> dictionary;
  for (int i = 0; i < 400; ++i) {
    std::string word(2 + random() % 9, ' ');
    for (char& c : word) c = static_cast<char>('a' + random() % 26);
    dictionary.push_back(word + ' ');
  }
  Bytes b;
  while (b.size() < size) {
    const std::string& word = dictionary[std::min(random() % 400, random() % 400)];
    b.insert(b.end(), word.begin(), word.end());
  }
  b.resize(size);
  return b;
}

void bench_packs(const std::string& dir, const Keys& keys) {
  auto store = must(PackStore::open(dir + "/packs", keys.volume, keys.epoch));
  Bytes incompressible(kFrameMax);
  random_bytes(incompressible);
  for (const auto& [name, plain] :
       {std::pair{"incompressible", incompressible}, std::pair{"compressible", words(kFrameMax)}}) {
    constexpr size_t kFrames = 4096;  // 256 MiB
    std::vector<FrameRef> refs(kFrames);
    auto start = Clock::now();
    for (FrameRef& ref : refs) ref = must(store->append(plain));
    double s = seconds_since(start);
    std::printf("pack append 64 KiB %-14s %7.0f MB/s, sealed to %u bytes\n", name, kFrames * kFrameMax / s / 1e6,
                refs[0].length);
    Bytes out(kFrameMax);
    start = Clock::now();
    for (const FrameRef& ref : refs) must(store->read(ref, out));
    std::printf("pack read   64 KiB %-14s %7.0f MB/s (from the page cache)\n", name,
                kFrames * kFrameMax / seconds_since(start) / 1e6);
    must(store->sync());
  }
  Bytes small(incompressible.begin(), incompressible.begin() + 4096), out(4096);
  std::vector<FrameRef> refs;
  measure("pack append 4 KiB", 20000, [&](size_t) { refs.push_back(must(store->append(small))); });
  measure("pack read 4 KiB", refs.size(), [&](size_t i) { must(store->read(refs[i * 7919 % refs.size()], out)); });
  must(store->sync());
  measure("pack append 4 KiB + sync", 500, [&](size_t) {
    must(store->append(small));
    must(store->sync());
  });
  std::vector<std::vector<IndexEntry>> indexes;
  std::vector<ObjectId> ids = store->rotate();
  measure("pack finish (16 MiB)", std::min<size_t>(ids.size(), 8), [&](size_t i) {
    IndexEntry e;
    e.frame.pack = ids[i];
    e.frame.length = static_cast<uint32_t>(must(store->size(ids[i])));
    must(store->finish(ids[i], {e}));
  });
}

void bench_journal(const std::string& dir, const Keys& keys) {
  auto journal = must(Journal::open(dir + "/journal", keys.volume, keys.local, {}));
  must(journal->replay(0, [](Lsn, BytesView) { return true; }));
  Bytes entry(200);
  random_bytes(entry);
  measure("journal append 200 B", 200000, [&](size_t) { journal->append(entry); });
  auto start = Clock::now();
  must(journal->flush());
  std::printf("journal flush of 200,000 entries: %.1f ms\n", seconds_since(start) * 1e3);
  measure("journal append + sync, fresh file", 2000, [&](size_t) { must(journal->sync(journal->append(entry))); });
  // Until a released file comes round again.
  for (int i = 0; i < 2; ++i) {
    Bytes large(1 << 20);
    for (int j = 0; j < 64; ++j) journal->append(large);
    must(journal->sync(journal->last_lsn()));
    must(journal->release(journal->last_lsn()));
  }
  measure("journal append + sync, reused file", 2000, [&](size_t) { must(journal->sync(journal->append(entry))); });
  measure("journal append x 100 + sync", 500, [&](size_t) {
    for (int i = 0; i < 100; ++i) journal->append(entry);
    must(journal->sync(journal->last_lsn()));
  });
  measure("journal append + flush", 2000, [&](size_t) {
    journal->append(entry);
    must(journal->flush());
  });
  const uint64_t before = journal->syncs();
  constexpr int kThreads = 8, kEach = 500;
  start = Clock::now();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < kEach; ++i) must(journal->sync(journal->append(entry)));
      });
  }
  std::printf("journal append + sync, %d threads: %.0f/s, %.1f entries per fdatasync\n", kThreads,
              kThreads * kEach / seconds_since(start),
              static_cast<double>(kThreads * kEach) / static_cast<double>(journal->syncs() - before));
}

RowKey row_key(uint64_t n, bool scattered) {
  if (scattered) n = n * 0x9e3779b97f4a7c15u;
  std::string bytes = "i";
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(n >> shift));
  return {bytes, bytes.size()};
}

void bench_table(const std::string& dir, const Keys& keys) {
  for (bool scattered : {false, true}) {
    const std::string kind = scattered ? "scattered" : "sequential";
    std::string path = dir + "/table-" + kind;
    std::filesystem::create_directories(path);
    auto table = must(Table::open(path, keys.volume, keys.local));
    Bytes value(220);
    random_bytes(value);
    Lsn lsn = 0;
    auto apply = [&](uint64_t n) {
      RowPut put{row_key(n, scattered), value};
      table->apply({&put, 1}, ++lsn);
    };
    constexpr uint64_t kRows = 200000, kPart = 20000;
    double commit_s = 0, apply_s = 0;
    for (uint64_t n = 0; n < kRows;) {
      auto start = Clock::now();
      for (uint64_t end = n + kPart; n < end; ++n) apply(n);
      apply_s += seconds_since(start);
      start = Clock::now();
      table->freeze();
      must(table->commit_frozen());
      commit_s += seconds_since(start);
    }
    std::printf("table %-10s apply %.2f us a row; commit of %lu rows %.1f ms, %.2f million rows/s; %.0f MB on disk\n",
                kind.c_str(), apply_s / kRows * 1e6, static_cast<unsigned long>(kPart),
                commit_s / (kRows / kPart) * 1e3, kRows / commit_s / 1e6,
                static_cast<double>(std::filesystem::file_size(path + "/data.mdb")) / 1e6);
    measure("table get from LMDB, " + kind, 200000,
            [&](size_t i) { must(table->get(row_key(i * 7919 % kRows, scattered))); });
    std::string after;
    measure("table next from LMDB, " + kind, 100000, [&](size_t) {
      auto row = must(table->next("i", after));
      after = row ? row->key : "";
    });
    for (uint64_t n = 0; n < 10000; ++n) apply(n * 3);
    measure("table get from memory, " + kind, 200000,
            [&](size_t i) { must(table->get(row_key(i % 10000 * 3, scattered))); });
    table->freeze();
    must(table->commit_frozen());
    for (int rows : {1, 100, 10000}) {
      measure("table commit of " + std::to_string(rows) + " rows, " + kind, 10, [&](size_t i) {
        for (int n = 0; n < rows; ++n) apply(i * 100000 + static_cast<uint64_t>(n));
        table->freeze();
        must(table->commit_frozen());
      });
    }
    // What a writer and a committer do to readers, and readers to a writer.
    std::atomic<bool> done{false};
    std::atomic<uint64_t> reads{0};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        for (uint64_t i = 0; !done; ++i) {
          must(table->get(row_key(i * 7919 % kRows, scattered)));
          ++reads;
        }
      });
    }
    threads.emplace_back([&] {
      while (!done) {
        table->freeze();
        must(table->commit_frozen());
      }
    });
    auto start = Clock::now();
    measure("table apply beside 2 readers and commits, " + kind, 200000, [&](size_t i) { apply(i); });
    double s = seconds_since(start);
    done = true;
    threads.clear();
    std::printf("table get beside a writer and commits, %s: %.2f million/s\n", kind.c_str(),
                static_cast<double>(reads) / s / 1e6);
  }
}

}  // namespace
}  // namespace coffer

int main(int argc, char** argv) {
  using namespace coffer;
  must(crypto_init());
  std::string dir = std::string(argc > 1 ? argv[1] : ".") + "/cache_bench-XXXXXX";
  if (::mkdtemp(dir.data()) == nullptr) {
    std::perror(dir.c_str());
    return 1;
  }
  {
    Keys keys;
    bench_packs(dir, keys);
    bench_journal(dir, keys);
    bench_table(dir, keys);
  }
  std::filesystem::remove_all(dir);
}
