// What a credential_process prints.
#include "remote/json_object.h"

#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) { (void)read_json_object(as_string(input)); }
