// Annotated mutexes for clang's thread-safety analysis (libstdc++'s carry no annotations). Every mutex has a rank; a
// thread takes them in increasing rank only, which debug builds check. The order is written down in ARCHITECTURE.md.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#if defined(__clang__)
#define COFFER_TSA(x) __attribute__((x))
#else
#define COFFER_TSA(x)
#endif
#define CAPABILITY(x) COFFER_TSA(capability(x))
#define SCOPED_CAPABILITY COFFER_TSA(scoped_lockable)
#define GUARDED_BY(x) COFFER_TSA(guarded_by(x))
#define PT_GUARDED_BY(x) COFFER_TSA(pt_guarded_by(x))
#define REQUIRES(...) COFFER_TSA(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) COFFER_TSA(requires_shared_capability(__VA_ARGS__))
#define ACQUIRE(...) COFFER_TSA(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) COFFER_TSA(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) COFFER_TSA(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) COFFER_TSA(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) COFFER_TSA(release_generic_capability(__VA_ARGS__))
#define EXCLUDES(...) COFFER_TSA(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS COFFER_TSA(no_thread_safety_analysis)

namespace coffer {

// Lock ranks, outermost first. Two locks of one rank are never held together by one thread.
enum class Rank : int {
  kControl = 10,  // the program: control socket, progress
  kSync = 20,     // publishing and fetching
  kInode = 30,    // the written data of one inode
  kFreeze = 35,   // keeps sealing apart from cutting off a generation
  kState = 40,    // the rows of the replica
  kNodes = 50,    // kernel node ids
  kJournal = 60,
  kPacks = 70,
  kTable = 80,
  kRemote = 90,
  kLeaf = 100,  // held for a few instructions, calls nothing
};

namespace internal {
void rank_acquire(Rank rank);  // aborts when a lock of this or a higher rank is held by this thread
void rank_release(Rank rank);
}  // namespace internal

#ifdef NDEBUG
#define COFFER_RANK_ACQUIRE(r) (void)0
#define COFFER_RANK_RELEASE(r) (void)0
#else
#define COFFER_RANK_ACQUIRE(r) internal::rank_acquire(r)
#define COFFER_RANK_RELEASE(r) internal::rank_release(r)
#endif

class CAPABILITY("mutex") Mutex {
 public:
  explicit Mutex(Rank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ACQUIRE() {
    COFFER_RANK_ACQUIRE(rank_);
    m_.lock();
  }
  void unlock() RELEASE() {
    m_.unlock();
    COFFER_RANK_RELEASE(rank_);
  }

 private:
  friend class CondVar;
  std::mutex m_;
  [[maybe_unused]] const Rank rank_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& m) ACQUIRE(m) : m_(m) { m_.lock(); }
  ~MutexLock() RELEASE() { m_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& m_;
};

class CAPABILITY("mutex") SharedMutex {
 public:
  explicit SharedMutex(Rank rank) : rank_(rank) {}
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void lock() ACQUIRE() {
    COFFER_RANK_ACQUIRE(rank_);
    m_.lock();
  }
  void unlock() RELEASE() {
    m_.unlock();
    COFFER_RANK_RELEASE(rank_);
  }
  void lock_shared() ACQUIRE_SHARED() {
    COFFER_RANK_ACQUIRE(rank_);
    m_.lock_shared();
  }
  void unlock_shared() RELEASE_SHARED() {
    m_.unlock_shared();
    COFFER_RANK_RELEASE(rank_);
  }

 private:
  std::shared_mutex m_;
  [[maybe_unused]] const Rank rank_;
};

class SCOPED_CAPABILITY ExclusiveLock {
 public:
  explicit ExclusiveLock(SharedMutex& m) ACQUIRE(m) : m_(m) { m_.lock(); }
  ~ExclusiveLock() RELEASE() { m_.unlock(); }
  ExclusiveLock(const ExclusiveLock&) = delete;
  ExclusiveLock& operator=(const ExclusiveLock&) = delete;

 private:
  SharedMutex& m_;
};

class SCOPED_CAPABILITY SharedLock {
 public:
  explicit SharedLock(SharedMutex& m) ACQUIRE_SHARED(m) : m_(m) { m_.lock_shared(); }
  ~SharedLock() RELEASE_GENERIC() { m_.unlock_shared(); }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;

 private:
  SharedMutex& m_;
};

// A condition variable for Mutex. Waits may wake early: loop on the condition.
class CondVar {
 public:
  void wait(Mutex& m) REQUIRES(m) {
    std::unique_lock<std::mutex> lock(m.m_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // False when the time passed without a notification.
  bool wait_for(Mutex& m, std::chrono::nanoseconds d) REQUIRES(m) {
    std::unique_lock<std::mutex> lock(m.m_, std::adopt_lock);
    bool notified = cv_.wait_for(lock, d) == std::cv_status::no_timeout;
    lock.release();
    return notified;
  }
  void notify_one() { cv_.notify_one(); }
  void notify_all() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace coffer
