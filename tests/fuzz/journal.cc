// Journal files: header, block heads, and the entries under their seals.
#include <algorithm>

#include "cache/journal_block.h"
#include "crypto/associated_data.h"
#include "fs/replica/journal_entry.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const VolumeId kVolume;
const ObjectId kFile;

void open_plain_block(BytesView plain) {
  Bytes sealed = local_keys().journal().seal(
      associated_data(Sealed::kJournalBlock, kVolume, 0, kFile.view(), kJournalGrain), plain);
  auto block = open_block(sealed, local_keys().journal(), kVolume, kFile, kJournalGrain);
  if (!block) return;
  require(block->first > 0 && !block->entries.empty(), "a block has entries");
  JournalBlock again(block->first, plain.size());
  for (BytesView entry : block->entries) again.add(entry);
  again.seal(local_keys().journal(), kVolume, kFile, kJournalGrain, block->durable);
  auto length = block_length(again.bytes(), kFile, kJournalGrain);
  require(length && *length <= again.bytes().size() - kBlockHead, "a block says how long it is");
  auto reopened =
      open_block(again.bytes().subspan(kBlockHead, *length), local_keys().journal(), kVolume, kFile, kJournalGrain);
  require(reopened && reopened->first == block->first && reopened->durable == block->durable &&
              std::ranges::equal(reopened->entries, block->entries,
                                 [](BytesView a, BytesView b) { return std::ranges::equal(a, b); }),
          "a block comes back");
}

}  // namespace

// which u8 | bytes
void run(BytesView input) {
  Input in(input);
  uint8_t which = in.byte();
  BytesView bytes = in.rest();
  switch (which) {
    case 0: {
      auto header = decode_journal_header(bytes);
      if (!header || !*header) return;
      auto again = must(decode_journal_header(encode_journal_header(**header)));
      require(again && again->id == (*header)->id && again->first == (*header)->first, "a header comes back");
      return;
    }
    case 1:
      (void)block_length(bytes, kFile, kJournalGrain);
      (void)open_block(bytes, local_keys().journal(), kVolume, kFile, kJournalGrain);
      return;
    case 2:
      return open_plain_block(bytes);
    default:
      break;
  }
  auto entry = decode_journal_entry(bytes);
  if (!entry) return;
  auto again = must(decode_journal_entry(encode_journal_entry(entry->puts, entry->frames, entry->recent)));
  require(again.frames == entry->frames && again.puts.size() == entry->puts.size(), "an entry comes back");
  for (size_t i = 0; i < again.puts.size(); ++i) {
    const RowPut &a = again.puts[i], &b = entry->puts[i];
    require(a.key == b.key && a.key.clear == b.key.clear && a.value == b.value, "a row of an entry comes back");
  }
  require(again.recent.size() == entry->recent.size(), "recent frames come back");
  for (size_t i = 0; i < again.recent.size(); ++i) {
    const RecentFrame &a = again.recent[i], &b = entry->recent[i];
    require(a.pack == b.pack && a.offset == b.offset && a.sealed == b.sealed, "a recent frame comes back");
  }
}

}  // namespace coffer::fuzz
