// A mount of a replica whose state is not wholly here: who needs what is missing waits, and nobody else does.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <future>

#include "fs/model/tree.h"
#include "fs/replica/loaded_state.h"
#include "fs/replica/row_parts.h"
#include "fs/replica/snapshot.h"
#include "tests/fuse/fixture.h"

namespace coffer {
namespace {

using model::kRootIno;
using model::RowKind;

class PartsMountTest : public ::testing::Test {
 protected:
  // Directories a, b and c, with some files each. Each directory's entries are a part, and so is each inode.
  PartsMountTest() {
    TempDir source;
    auto from = open_replica(volume_, source.path(), "there");
    EXPECT_OK(from->make_root());
    for (const char* name : {"a", "b", "c"}) {
      model::NewInode what;
      what.type = model::FileType::kDirectory;
      what.mode = 0755;
      auto dir = from->make(kRootIno, name, what);
      EXPECT_OK(dir);
      for (int i = 0; i < 20; ++i) {
        model::NewInode file;
        file.mode = 0644;
        EXPECT_OK(from->make(dir->ino, "file " + std::to_string(i), file));
      }
    }
    Packs packs;
    auto record = exchange().publish(*from, packs);
    EXPECT_OK(from->set_stable(record->stamp));
    auto snapshot = from->snapshot();
    EXPECT_TRUE(snapshot.has_value() && *snapshot);
    EXPECT_OK((*snapshot)->survey({}));
    Replica::Parts parts;
    LoadedState first;
    const std::string root = model::inode_key(kRootIno).bytes, entries = model::entry_prefix(kRootIno);
    std::string last;
    auto add = [&](std::string_view key, BytesView value) -> Result<void> {
      const std::string group(key.substr(0, 9));
      if (group != last) {
        parts.list.push_back({std::string(key), {}});
        parts.here.push_back(group == root || group == entries);
        rows_.emplace_back();
      }
      last = group;
      rows_.back().emplace_back(key, to_bytes(value));
      return parts.here.back() ? first.add(key, value) : Result<void>();
    };
    for (RowKind kind : {RowKind::kEntry, RowKind::kInode}) EXPECT_OK((*snapshot)->visit(kind, add, {}));
    replica_ = open_replica(volume_, state_.path(), "here");
    EXPECT_OK(replica_->load(first, parts, record->stamp, {}, {}, {}));
    EXPECT_TRUE(replica_->parts().loading());
    MountOptions options;
    options.place.directory = directory_.path();
    options.place.source = "coffer:test";
    options.place.allow_other = true;
    options.state_directory = state_.path();
    auto mounted = Mount::mount(*replica_, fetcher_, options);
    EXPECT_OK(mounted);
    mount_ = std::move(*mounted);
    server_ = std::thread([this] { EXPECT_OK(mount_->serve()); });
  }
  ~PartsMountTest() override {
    fetcher_.answer_parts(fail(Code::kUnavailable, "the end"));
    EXPECT_OK(mount_->unmount(true));
    server_.join();
    mount_.reset();
  }
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  // Everything that somebody waits for comes.
  void bring() {
    for (size_t part : fetcher_.parts_wanted()) {
      LoadedState rows;
      for (const auto& [key, value] : rows_[part]) ASSERT_OK(rows.add(key, value));
      ASSERT_OK(replica_->put_part(part, rows, {}));
    }
    fetcher_.answer_parts({});
  }
  // Until the call has ended; how often something had to come for it.
  template <typename T>
  int bring_until_ready(std::future<T>& call) {
    int times = 0;
    EXPECT_TRUE(eventually([&] {
      if (!fetcher_.parts_wanted().empty()) ++times, bring();
      return call.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    }));
    return times;
  }
  static std::set<std::string> names(const std::string& directory) {
    std::set<std::string> out;
    for (const auto& e : std::filesystem::directory_iterator(directory)) out.insert(e.path().filename());
    return out;
  }

  TempDir state_, directory_;
  TestVolume volume_;
  FakeFetcher fetcher_;
  std::vector<std::vector<std::pair<std::string, Bytes>>> rows_;  // of the parts
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Mount> mount_;
  std::thread server_;
};

TEST_F(PartsMountTest, NamesNeedNoAttributes) {
  EXPECT_EQ(names(directory_.path()), (std::set<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(fetcher_.parts_wanted().empty());
  auto listed = std::async(std::launch::async, [&] { return names(path("a")); });
  EXPECT_EQ(bring_until_ready(listed), 2);  // the directory, and its entries
  EXPECT_EQ(listed.get().size(), 20u);
}

TEST_F(PartsMountTest, WhoeverNeedsMoreWaitsAndNobodyElseDoes) {
  auto looked = std::async(std::launch::async, [&] {
    struct stat st;
    return ::stat(path("a").c_str(), &st) + ::stat(path("b").c_str(), &st);
  });
  bring_until_ready(looked);
  EXPECT_EQ(looked.get(), 0);
  // More than there are workers.
  std::vector<std::future<int>> calls;
  for (int i = 0; i < 30; ++i)
    calls.push_back(std::async(std::launch::async, [&, i] {
      struct stat st;
      return ::stat(path((i % 2 ? "a/file " : "b/file ") + std::to_string(i % 20)).c_str(), &st) == 0 ? 0 : errno;
    }));
  EXPECT_TRUE(eventually([&] { return fetcher_.parts_wanted().size() >= 2; }));
  EXPECT_EQ(names(directory_.path()).size(), 3u);
  struct stat st;
  EXPECT_EQ(::stat(directory_.path().c_str(), &st), 0);
  int fd = ::open(path("made here").c_str(), O_CREAT | O_WRONLY, 0644);
  EXPECT_GE(fd, 0);
  EXPECT_EQ(::write(fd, "x", 1), 1);
  EXPECT_EQ(::fsync(fd), 0);
  ::close(fd);
  for (auto& call : calls) bring_until_ready(call);
  for (auto& call : calls) EXPECT_EQ(call.get(), 0);
}

TEST_F(PartsMountTest, ChangesWaitAndHappenOnce) {
  auto call = std::async(std::launch::async, [&] {
    EXPECT_EQ(::rename(path("a/file 1").c_str(), path("b/file 1").c_str()), 0);
    EXPECT_EQ(::unlink(path("b/file 2").c_str()), 0);
    EXPECT_EQ(::mkdir(path("c/new").c_str(), 0755), 0);
    int fd = ::open(path("c/file 3").c_str(), O_WRONLY);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(::write(fd, "contents", 8), 8);
    EXPECT_EQ(::fsync(fd), 0);
    ::close(fd);
    return 0;
  });
  bring_until_ready(call);
  EXPECT_EQ(read_text(path("c/file 3")), "contents");
  auto listed = std::async(std::launch::async, [&] {
    return std::vector{names(path("a")).size(), names(path("b")).size(), names(path("c")).size()};
  });
  bring_until_ready(listed);
  EXPECT_EQ(listed.get(), (std::vector<size_t>{19, 19, 21}));
}

TEST_F(PartsMountTest, WhoeverIsInterruptedOrWaitsTooLongIsTold) {
  const std::string lost = path("c/file 1");
  auto late = std::async(std::launch::async, [&] {
    struct stat st;
    return ::stat(lost.c_str(), &st) == 0 ? 0 : errno;
  });
  ASSERT_TRUE(eventually([&] { return !fetcher_.parts_wanted().empty(); }));
  fetcher_.answer_parts(fail(Code::kTimedOut, "it did not come"));
  EXPECT_EQ(late.get(), ETIMEDOUT);

  pid_t pid = ::fork();
  if (pid == 0) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    ::ualarm(200000, 200000);
    struct stat st;
    _exit(::stat(lost.c_str(), &st) == 0 ? 0 : errno);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), EINTR);
}

}  // namespace
}  // namespace coffer
