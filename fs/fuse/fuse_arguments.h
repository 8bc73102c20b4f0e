// A mount's options as libfuse takes them.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "base/result.h"
#include "fs/fuse/mounter.h"

namespace coffer::fuse {

class FuseArguments {
 public:
  static Result<std::unique_ptr<FuseArguments>> of(const MountPlace& place);
  ~FuseArguments() { fuse_opt_free_args(&args_); }
  FuseArguments(const FuseArguments&) = delete;
  FuseArguments& operator=(const FuseArguments&) = delete;

  fuse_args* get() { return &args_; }

 private:
  FuseArguments() = default;

  fuse_args args_ = FUSE_ARGS_INIT(0, nullptr);
};

// libfuse's own messages go where ours go.
void take_libfuse_messages();

}  // namespace coffer::fuse
