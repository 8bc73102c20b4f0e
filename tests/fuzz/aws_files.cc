// AWS shared files, and the times that credentials expire at.
#include "remote/aws_credentials.h"
#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  (void)read_ini(as_string(input));
  (void)parse_iso8601(as_string(input));
}
