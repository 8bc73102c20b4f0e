// A process that uses packs, journal and table together is killed at every named step, again and again on one directory.
// After each death another one finds all that was flushed, in order and without gaps, and every frame that it names.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <new>

#include "cache/journal.h"
#include "cache/pack_store.h"
#include "cache/table.h"
#include "tests/cache/fixture.h"

namespace coffer {
namespace {

using namespace test;

constexpr uint64_t kKeys = 40;

RowKey key_of(Lsn n) {
  std::string bytes = "k" + std::to_string(n % kKeys);
  return n % 2 != 0 ? RowKey{bytes, 1} : RowKey{bytes, bytes.size()};
}
Bytes plain_of(Lsn n) { return n % 3 != 0 ? noise(1 + n * 331 % 9000, n) : text(1 + n * 331 % 60000, n); }

void encode(Lsn n, const FrameRef& ref, Bytes& out) {
  Writer w(out);
  w.u64(n);
  w.id(ref.pack);
  w.u32(ref.offset);
  w.u32(ref.length);
  w.id(ref.hash);
}
struct Value {
  Lsn n;
  FrameRef ref;
};
Value decode(BytesView bytes) {
  Reader r(bytes);
  Value v;
  v.n = r.u64();
  v.ref.pack = r.id<ObjectId>();
  v.ref.offset = r.u32();
  v.ref.length = r.u32();
  v.ref.hash = r.id<Hash>();
  if (!r.at_end()) std::abort();
  return v;
}

class CrashTest : public CacheTest {
 protected:
  // Stops this process with a message, so that a failure in the child is seen.
  template <typename T>
  static T must(Result<T> r) {
    if (!r) {
      std::fprintf(stderr, "%s\n", r.error().what().c_str());
      std::abort();
    }
    if constexpr (!std::is_void_v<T>) return std::move(*r);
  }

  void open() {
    std::filesystem::create_directories(dir_.path() + "/table");
    packs_ = must(PackStore::open(dir_.path() + "/packs", volume_, ring_));
    table_ = must(Table::open(dir_.path() + "/table", volume_, local_));
    Journal::Options options;
    options.file_size = 64 << 10;
    options.block_payload = 500;
    options.before_sync = [this]() -> Result<Bytes> {
      TRYV(packs_->sync());
      return Bytes{};
    };
    journal_ = must(Journal::open(dir_.path() + "/journal", volume_, local_, options));
    must(journal_->replay(table_->committed_lsn(), [&](Lsn lsn, BytesView payload) {
      Value v = decode(payload);
      if (v.n != lsn) std::abort();
      Bytes plain(plain_of(lsn).size());
      if (!packs_->read(v.ref, plain)) return false;
      RowPut put{key_of(lsn), to_bytes(payload)};
      table_->apply({&put, 1}, lsn);
      return true;
    }));
  }
  void close() {
    journal_.reset();
    table_.reset();
    packs_.reset();
  }

  // The life of the child. What it has flushed is in `flushed`, which the parent shares.
  void live(uint64_t seed, std::atomic<Lsn>& flushed) {
    std::mt19937_64 random(seed);
    open();
    std::vector<ObjectId> closed;
    for (int step = 0; step < 150; ++step) {
      switch (random() % 8) {
        default: {
          Lsn n = journal_->last_lsn() + 1;
          FrameRef ref = must(packs_->append(plain_of(n)));
          RowPut put{key_of(n), Bytes{}};
          encode(n, ref, *put.value);
          if (journal_->append(*put.value) != n) std::abort();
          table_->apply({&put, 1}, n);
          break;
        }
        case 0: {
          Lsn last = journal_->last_lsn();
          must(journal_->flush());
          flushed = last;
          break;
        }
        case 1: {
          Lsn last = journal_->last_lsn();
          must(journal_->sync(last));
          flushed = last;
          break;
        }
        case 2: {
          auto lsn = table_->freeze();
          if (!lsn) break;
          must(journal_->sync(*lsn));
          must(table_->commit_frozen());
          must(journal_->release(table_->committed_lsn()));
          break;
        }
        case 3:
          if (random() % 3 != 0) break;
          for (const ObjectId& id : packs_->rotate()) must(packs_->finish(id, {}));
          break;
      }
    }
    close();
  }

  // What the next process finds.
  void check(Lsn flushed) {
    open();
    const Lsn last = journal_->last_lsn();
    ASSERT_GE(last, flushed);
    for (Lsn n = last; n > 0 && n + kKeys > last; --n) {
      auto row = must(table_->get(key_of(n)));
      ASSERT_TRUE(row.has_value());
      Value v = decode(*row);
      ASSERT_EQ(v.n, n);
      Bytes expected = plain_of(n), plain(expected.size());
      must(packs_->read(v.ref, plain));
      ASSERT_EQ(plain, expected);
    }
    // Each pack can still be finished, whatever was interrupted.
    for (const ObjectId& id : must(packs_->local_packs())) {
      uint64_t size = must(packs_->finish(id, {}));
      must(read_pack_index(must(packs_->bytes(id, size)), id, volume_, keys_));
    }
    close();
  }

  std::unique_ptr<PackStore> packs_;
  std::unique_ptr<Table> table_;
  std::unique_ptr<Journal> journal_;
};

TEST_F(CrashTest, KilledAtEveryStep) {
  void* shared = mmap(nullptr, sizeof(std::atomic<Lsn>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* flushed = new (shared) std::atomic<Lsn>(0);
  uint64_t seed = 0, killed = 0;
  for (const char* point :
       {"pack.append", "pack.append.after", "pack.sync", "pack.sync.after", "pack.finish", "pack.finish.after",
        "journal.write", "journal.write.after", "journal.create", "journal.create.after", "journal.sync",
        "journal.sync.after", "table.commit", "table.commit.after"}) {
    for (int nth : {1, 2, 5}) {
      SCOPED_TRACE(std::string(point) + "@" + std::to_string(nth));
      ++seed;
      pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        arm_failpoints(std::string(point) + "=crash@" + std::to_string(nth));
        live(seed, *flushed);
        _exit(0);
      }
      int status = 0;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      if (WIFSIGNALED(status)) {
        ASSERT_EQ(WTERMSIG(status), SIGKILL);
        ++killed;
      } else {
        ASSERT_EQ(WEXITSTATUS(status), 0);
      }
      check(*flushed);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(killed, 30u) << "of 42";
  munmap(shared, sizeof(std::atomic<Lsn>));
}

}  // namespace
}  // namespace coffer
