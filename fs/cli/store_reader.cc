#include "fs/cli/store_reader.h"

#include <cerrno>
#include <future>

#include "remote/stoppable_store.h"

namespace coffer::cli {
namespace {

constexpr size_t kPiece = 1 << 20;
constexpr size_t kListPiece = 1000;
constexpr uint64_t kCache = 256 << 20;  // of what was read, in the temporary directory

}  // namespace

Outcome<std::unique_ptr<StoreReader>> StoreReader::open(Target target, std::stop_token stop) {
  std::unique_ptr<StoreReader> reader(new StoreReader(stop));
  TRY(OpenDrive remote, open_remote(target));
  reader->drive_.emplace(std::move(remote));
  StoppableStore store(*reader->drive_->store, stop);
  TRY(VolumeHead head, find_volume(store));
  TRY(auto slots, find_slots(store));
  TRY(Opener opener, Opener::get(target.settings));
  TRY(OpenedVolume opened, opener.open(head, slots));
  TRY(ScratchDirectory made, ScratchDirectory::make());
  reader->temporary_.emplace(std::move(made));
  target.state_root = reader->temporary_->path();
  TRY(VolumeDirectory directory, VolumeDirectory::open(target.state_root, head.volume));
  TRY(UnlockedVolume volume, enter_volume(target, std::move(directory), std::move(opened.secrets)));
  TRYV(open_local(*reader->drive_, std::make_unique<UnlockedVolume>(std::move(volume)), {kCache, 0, 0}, stop));
  TRYV(load_all(*reader->drive_, stop));
  return reader;
}

Outcome<model::Node> StoreReader::find(std::string_view path) {
  std::string so_far;
  TRY(model::Inode root, replica().attributes(model::kRootIno));
  model::Node node{model::kRootIno, std::move(root)};
  while (!path.empty()) {
    size_t slash = path.find('/');
    std::string_view name = path.substr(0, slash);
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
    if (name.empty() || name == ".") continue;
    so_far += "/" + std::string(name);
    auto next = replica().lookup(node.ino, name);
    if (!next && next.error().code() == Code::kNotFound)
      return give_up(Exit::kGeneral, so_far + ": no such file in the volume");
    if (!next) return give_up(Failure(next.error()).in(so_far));
    node = std::move(*next);
  }
  return node;
}

Outcome<void> StoreReader::for_each(Ino dir, const std::function<Outcome<void>(const Replica::ListedNode&)>& visit) {
  for (uint64_t after = 0;;) {
    TRY(auto nodes, replica().list_nodes(dir, after, kListPiece));
    if (nodes.empty()) return {};
    for (const auto& n : nodes) TRYV(visit(n));
    after = nodes.back().cookie;
  }
}

Outcome<void> StoreReader::read_all(Ino ino, const std::function<Outcome<void>(uint64_t, BytesView)>& sink) {
  Bytes piece(kPiece);
  for (uint64_t offset = 0;;) {
    if (stop_.stop_requested()) return give_up(Exit::kCutShort, "interrupted");
    TRY(Replica::ReadOutcome outcome, replica().read(ino, offset, piece));
    if (!outcome.missing.empty()) {
      TRYV(fetch(std::move(outcome.missing)));
      continue;
    }
    TRYV(sink(offset, BytesView(piece).first(outcome.bytes)));
    offset += outcome.bytes;
    if (outcome.bytes < piece.size()) return {};
  }
}

Outcome<void> StoreReader::fetch(std::vector<Missing> missing) {
  auto promise = std::make_shared<std::promise<Result<void>>>();
  auto future = promise->get_future();
  drive_->synchronizer->fetch(std::move(missing), stop_,
                              [promise](Result<void> r) { promise->set_value(std::move(r)); });
  TRYV(future.get());
  return {};
}

}  // namespace coffer::cli
