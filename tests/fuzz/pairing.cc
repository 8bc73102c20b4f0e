// Letting a device in: requests and answers from whoever runs the store, and what a member may have handed over.
#include "fs/sync/pairing.h"

#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {
namespace {

const PairingWait& waiting() {
  static const PairingWait kWait = PairingWait::begin(VolumeId{}, WallTime{5});
  return kWait;
}

}  // namespace

// which u8: 0 a request, 1 an answer, 2 the contents of an answer, 3 what is typed | bytes
void run(BytesView input) {
  Input in(input);
  const uint8_t which = in.byte();
  const BytesView bytes = in.rest();
  if (which == 0) {
    if (auto request = decode_pairing_request(bytes))
      require(std::ranges::equal(encode(*request), bytes), "a request comes back");
  } else if (which == 1) {
    require(!waiting().open(bytes), "nobody answers without the code");
  } else if (which == 2) {
    const Bytes answer = must(seal_pairing_answer(waiting().request(), waiting().code(), Secret(bytes)));
    const Secret contents = must(waiting().open(answer));
    require(std::ranges::equal(contents.view(), bytes), "an answer comes back");
    auto handed_over = decode_handed_over(contents.view());
    if (!handed_over) return;
    require(handed_over->certificate.valid(handed_over->secrets.signing_public, handed_over->secrets.volume),
            "who is handed over to is a member");
    require(encode(*handed_over).equal(encode(must(decode_handed_over(encode(*handed_over).view())))),
            "what is handed over comes back");
  } else if (auto code = PairingCode::parse(as_string(bytes))) {
    require(must(PairingCode::parse(as_string(code->text().view()))).text().equal(code->text()), "a code comes back");
  }
}

}  // namespace coffer::fuzz
