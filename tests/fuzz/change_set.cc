// What a record changes, as a member or a former one may have written it.
#include "fs/model/change_set.h"

#include "tests/fuzz/fuzz.h"

namespace coffer::fuzz {

void run(BytesView input) {
  Reader in(input);
  auto changes = model::decode_change_set(in);
  if (!changes) return;
  require(model::is_well_formed(*changes), "what decodes is well-formed");
  Bytes bytes;
  Writer out(bytes);
  model::encode(*changes, out);
  Reader again_in(bytes);
  auto again = must(model::decode_change_set(again_in));
  require(again_in.at_end() && again == *changes, "a change set comes back");
}

}  // namespace coffer::fuzz
