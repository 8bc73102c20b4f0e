// Records: the object from whoever runs the store, and the body that a former device may have sealed and signed.
#include "fs/sync/record.h"

#include "crypto/associated_data.h"
#include "crypto/padding.h"
#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const VolumeId kVolume;
const LogId kLog;

const EpochKeys* keys_of(Epoch epoch) { return epoch == epoch_keys().epoch() ? &epoch_keys() : nullptr; }

Bytes seal(uint64_t number, std::string_view part, BytesView plain) {
  return epoch_keys().records().seal(
      associated_data(Sealed::kRecord, kVolume, epoch_keys().epoch(), kLog.view(), number, as_bytes(part)), plain);
}

// An object with that body, signature included, and carried bytes.
Bytes object_of(uint64_t number, BytesView body, BytesView carried) {
  Bytes header, object;
  Writer h(header), out(object);
  h.u16(kRecordVersion);
  h.u32(static_cast<uint32_t>(body.size()));
  h.u32(static_cast<uint32_t>(carried.size()));
  out.u32(epoch_keys().epoch());
  out.raw(seal(number, "h", header));
  out.raw(seal(number, "b", body));
  out.raw(carried);
  object.resize(padded_size(object.size()));
  return object;
}

}  // namespace

// what u8: 0, an object; else number u8 | piece of carried bytes | body.
void run(BytesView input) {
  Input in(input);
  if (in.byte() == 0) {
    (void)open_record(in.rest(), kVolume, kLog, 1, keys_of);
    return;
  }
  uint64_t number = in.byte();
  BytesView carried = in.piece();
  auto opened = open_record(object_of(number, in.rest(), carried), kVolume, kLog, number, keys_of);
  if (!opened) return;
  require(!opened->record.opening || valid_device_name(opened->record.opening->device_name), "a device's name is fit");
  require(opened->record.opening.has_value() == (number == 1), "the first record opens the log");
  if (opened->record.opening) (void)opened->record.opening->certificate.valid(signing_key().public_key(), kVolume);
  for (const RecordPack& pack : opened->record.packs) {
    require(!pack.carried || (pack.at <= carried.size() && pack.length <= carried.size() - pack.at),
            "carried packs lie in what is carried");
  }
  // Written again, and read: the same record.
  auto sealed = must(seal_record(opened->record, carried, kVolume, kLog, number, epoch_keys(), signing_key()));
  auto again = must(open_record(sealed.object, kVolume, kLog, number, keys_of));
  require(again.signed_by(signing_key().public_key()), "a record is signed");
  require(again.record.changes == opened->record.changes && again.record.packs == opened->record.packs &&
              again.record.heads == opened->record.heads && again.record.stamp == opened->record.stamp,
          "a record comes back");
  if (opened->record.opening)
    require(again.record.opening->certificate.vouchers.size() == opened->record.opening->certificate.vouchers.size(),
            "the vouchers come back");
}

}  // namespace coffer::fuzz
