#include "fs/sync/rewriting.h"

#include "base/bytes.h"

namespace coffer {

namespace {
constexpr uint8_t kRowVersion = 1;
}  // namespace

RowKey rewriting_key() { return clear_key("Sw"); }

Bytes encode(const Rewriting& rewriting) {
  Bytes out;
  Writer w(out);
  w.u8(kRowVersion);
  w.u8(rewriting.phase == Rewriting::Phase::kDone ? 1 : 0);
  w.u32(rewriting.epoch);
  w.u64(static_cast<uint64_t>(rewriting.asked.ns));
  w.u64(static_cast<uint64_t>(rewriting.finished ? rewriting.finished->ns : 0));
  return out;
}

Result<Rewriting> decode_rewriting(BytesView row) {
  Reader in(row);
  if (in.u8() > kRowVersion) return fail(Code::kTooNew, "the row of sealing anew was written by a later coffer");
  Rewriting out;
  const uint8_t done = in.u8();
  out.epoch = in.u32();
  out.asked.ns = static_cast<int64_t>(in.u64());
  const auto finished = static_cast<int64_t>(in.u64());
  if (!in.at_end() || done > 1) return fail(Code::kCorrupt, "the row of sealing anew is damaged");
  if (done == 1) {
    out.phase = Rewriting::Phase::kDone;
    out.finished = WallTime{finished};
    out.counted = true;
  }
  return out;
}

}  // namespace coffer
