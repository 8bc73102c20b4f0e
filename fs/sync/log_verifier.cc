#include "fs/sync/log_verifier.h"

#include <algorithm>

namespace coffer {

uint64_t next_stamp(uint64_t previous, std::span<const uint64_t> quoted) {
  for (uint64_t stamp : quoted) previous = std::max(previous, stamp);
  return previous + 1;
}

Result<std::optional<Awaited>> verify_record(const OpenedRecord& opened, const TailView& tails, const VolumeId& volume,
                                             const PublicKey& volume_signing) {
  using Verdict = std::optional<Awaited>;
  const Record& record = opened.record;
  std::optional<LogTail> tail = tails.find(opened.log);
  uint64_t here = tail ? tail->number : 0;
  if (opened.number > here + 1) return Verdict(Awaited{opened.log, opened.number - 1});
  if (opened.number <= here) return fail(Code::kInternal, "a record that is applied already was to be verified");

  if (record.opening) {
    const DeviceCertificate& certificate = record.opening->certificate;
    if (!certificate.valid(volume_signing, volume))
      return fail(Code::kCorrupt, "its author is no member of this volume: the certificate does not verify");
    if (!opened.signed_by(certificate.key)) return fail(Code::kCorrupt, "its signature does not verify");
    if (!record.previous.is_zero()) return fail(Code::kCorrupt, "it is the first and names one before it");
  } else {
    if (!opened.signed_by(tail->key)) return fail(Code::kCorrupt, "its signature does not verify");
    if (record.previous != tail->hash)
      return fail(Code::kCorrupt, "it does not follow the record before it: the log was exchanged, or written twice");
    if (tail->closed) return fail(Code::kCorrupt, "it comes after the end of its log");
  }

  uint64_t previous = tail ? tail->stamp : 0;
  std::vector<uint64_t> stamps;
  auto quote = [&](const LogHead& head) -> Result<Verdict> {
    if (head.log == opened.log) return fail(Code::kCorrupt, "it quotes its own log");
    TRY(std::optional<RecordMark> mark, tails.mark(head.log, head.number));
    if (!mark) return Verdict(Awaited{head.log, head.number});
    if (mark->hash != head.hash) {
      auto other = tails.find(head.log);
      return fail(Code::kCorrupt, "it quotes another record " + std::to_string(head.number) + " of " +
                                      (other ? other->name : std::string("a device")) + "'s log than this device has");
    }
    stamps.push_back(mark->stamp);
    return Verdict();
  };
  for (const LogHead& head : record.heads) {
    TRY(Verdict awaited, quote(head));
    if (awaited) return awaited;
  }
  if (record.opening && record.opening->predecessor) {
    const LogHead& before = *record.opening->predecessor;
    TRY(Verdict awaited, quote(before));
    if (awaited) return awaited;
    auto ended = tails.find(before.log);
    if (!ended || ended->device != record.opening->certificate.device)
      return fail(Code::kCorrupt, "it ends the log of another device");
  }
  if (record.stamp != next_stamp(previous, stamps))
    return fail(Code::kCorrupt, "its stamp does not follow from what it quotes");
  return Verdict();
}

}  // namespace coffer
