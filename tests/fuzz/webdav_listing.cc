// What a server answers to PROPFIND.
#include "remote/webdav_listing.h"

#include "tests/fuzz/fuzz.h"

void coffer::fuzz::run(BytesView input) {
  auto entries = read_multistatus(input);
  if (!entries) return;
  for (const DavEntry& e : *entries) {
    require(e.path.starts_with('/'), "a path begins with '/'");
    require(e.path == "/" || !e.path.ends_with('/'), "a path does not end with '/'");
  }
}
