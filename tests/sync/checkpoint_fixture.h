// Devices that write checkpoints when a test wants them to.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "crypto/hash.h"
#include "crypto/random.h"
#include "fs/sync/checkpoint.h"
#include "fs/sync/object_keys.h"
#include "tests/sync/device.h"

namespace coffer::test {

class WithCheckpoints : public DevicesTest {
 protected:
  // One that writes a checkpoint whenever it may; it publishes when it is told to, or by itself.
  static SyncOptions eager(bool by_itself = false) {
    SyncOptions o = quick_options();
    if (!by_itself) o.publish_after = o.publish_within = std::chrono::seconds(100);
    o.checkpoint_from = 1;
    o.checkpoint_look = std::chrono::milliseconds(20);
    return o;
  }
  std::vector<CheckpointName> hints() const {  // newest first
    std::vector<CheckpointName> out;
    for (const std::string& key : keys(kHintPrefix))
      if (auto name = parse_checkpoint_hint(key)) out.push_back(*name);
    std::sort(out.rbegin(), out.rend());
    return out;
  }
  Checkpoint open(const CheckpointName& name) const {
    const EpochKeys epoch(1, volume_.key);
    auto opened = open_checkpoint(
        memory_->snapshot().at(pack_key(name.root)), volume_.id, name.root, [&](Epoch) { return &epoch; },
        volume_.signing.public_key());
    EXPECT_OK(opened);
    return std::move(*opened);
  }
  // Everything that is in the store is below the newest checkpoint when it returns: nobody but `writer` is there.
  void wait_for_checkpoint(Device& writer) {
    writer.must_sync();
    auto there = [&] { return !hints().empty() && hints().front().stamp >= newest_stamp(writer); };
    // A large one is not written anew for a single record, and takes its time; what comes meanwhile is not in it.
    std::chrono::milliseconds patience(500);
    for (uint64_t round = 0; round < 100 && !there(); ++round) {
      const auto end = std::chrono::steady_clock::now() + patience;
      while (!there() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (there()) break;
      patience = std::min(patience * 9 / 8, std::chrono::milliseconds(10'000));
      writer.write("more", text(100, round));
      writer.must_sync();
    }
    EXPECT_TRUE(there());
  }
  // Seals a segment as the writer of a checkpoint would, and puts it into the store.
  void put_segment(SegmentContent content, Checkpoint& list) {
    EpochKeys epoch(1, volume_.key);
    SegmentInfo info;
    info.id = random_id<ObjectId>();
    info.plain = blake2b(content.plain);
    Bytes object = seal_segment(content.plain, volume_.id, info.id, epoch);
    info.sealed = blake2b(object);
    info.object_size = object.size();
    info.plain_size = content.plain.size();
    info.rows = content.rows;
    info.first_key = std::move(content.first_key);
    ASSERT_OK(memory_->put(pack_key(info.id), object));
    list.segments.push_back(std::move(info));
  }
  // Signs it, and makes it the only one that a hint names.
  void put_root(const Checkpoint& checkpoint, const Device& author) {
    EpochKeys epoch(1, volume_.key);
    for (const CheckpointName& old : hints()) ASSERT_OK(memory_->remove(old.hint()));
    const CheckpointName name{checkpoint.stamp, random_id<ObjectId>()};
    TAKE(Bytes root, seal_checkpoint(checkpoint, volume_.id, name.root, epoch, author.identity().key));
    ASSERT_OK(memory_->put(pack_key(name.root), root));
    ASSERT_OK(memory_->put(name.hint(), {}));
  }
  // The newest checkpoint; its rows.
  void open_newest(Checkpoint& checkpoint, std::vector<Row>& rows) {
    EpochKeys epoch(1, volume_.key);
    auto keys_of = [&](Epoch) { return &epoch; };
    const CheckpointName name = hints().front();
    TAKE(Bytes object, memory_->get(pack_key(name.root), kCheckpointMax));
    TAKE(checkpoint, open_checkpoint(object, volume_.id, name.root, keys_of, volume_.signing.public_key()));
    for (const SegmentInfo& s : checkpoint.segments) {
      TAKE(Bytes sealed, memory_->get(pack_key(s.id), s.object_size));
      TAKE(Bytes plain, open_segment(sealed, volume_.id, s, keys_of));
      ASSERT_OK(visit_rows(plain, s, [&](std::string_view key, BytesView value) -> Result<void> {
        rows.push_back({std::string(key), to_bytes(value)});
        return {};
      }));
    }
  }
  // Cuts the newest checkpoint into segments of so many rows, so that little is in many parts.
  void recut(const Device& author, size_t rows_each) {
    Checkpoint checkpoint;
    std::vector<Row> rows;
    open_newest(checkpoint, rows);
    checkpoint.certificate = author.identity().certificate;
    checkpoint.segments.clear();
    for (size_t at = 0; at < rows.size(); at += rows_each) {
      SegmentContent content;
      content.first_key = rows[at].key;
      Writer out(content.plain);
      for (size_t i = at; i < std::min(rows.size(), at + rows_each); ++i, ++content.rows) {
        out.string(rows[i].key);
        out.bytes(rows[i].value);
      }
      put_segment(std::move(content), checkpoint);
    }
    put_root(checkpoint, author);
  }
  static uint64_t newest_stamp(Device& d) {
    uint64_t stamp = 0;
    for (const LogTail& tail : d.logs()) stamp = std::max(stamp, tail.stamp);
    return stamp;
  }
};

}  // namespace coffer::test
