// The one bridge between libfuse's C callbacks and our operations.
#pragma once

#include <new>

#include "fs/fuse/reply.h"
#include "fs/replica/row_parts.h"

namespace coffer::fuse {

// An operation is a function `Result<Reply> op(FileSystem&, fuse_req_t, arguments of the callback...)`; the request is
// for what it says about the caller. handle<upcall, op> is the callback: it meters, runs, and replies. One that needs a part
// of the state that is not here yet has done nothing: it runs again when the part is (ParkedCalls).
template <Upcall kUpcall, typename Reply, typename... Args>
void run(Result<Reply> (*operation)(FileSystem&, fuse_req_t, Args...), fuse_req_t req, Args... args) noexcept {
  FileSystem& fs = *static_cast<FileSystem*>(fuse_req_userdata(req));
  fs.meter.count(kUpcall);
  PartWishes wishes;
  auto result = [&]() -> Result<Reply> {
    try {
      return operation(fs, req, args...);
    } catch (const std::bad_alloc&) {  // nothing else throws
      return fail(Code::kNoSpace, "out of memory");
    }
  }();
  if (result)
    send(fs, req, *result);
  else if (!wishes.missed().empty() && result.error().code() == Code::kUnavailable)
    fs.calls.park(req, kUpcall, wishes.missed());
  else
    send_error(req, kUpcall, result.error());
  fs.meter.charge(kUpcall);
}

template <Upcall kUpcall, auto kOperation>
struct Handler;

template <Upcall kUpcall, typename Reply, typename... Args,
          Result<Reply> (*kOperation)(FileSystem&, fuse_req_t, Args...)>
struct Handler<kUpcall, kOperation> {
  static void call(fuse_req_t req, Args... args) noexcept { run<kUpcall>(kOperation, req, args...); }
};

template <Upcall kUpcall, auto kOperation>
inline constexpr auto handle = &Handler<kUpcall, kOperation>::call;

}  // namespace coffer::fuse
