// ~/.netrc.
#include "remote/netrc.h"

#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  (void)find_in_netrc(as_string(input), "dav.example.org");
  (void)find_in_netrc(as_string(input), "");
}
