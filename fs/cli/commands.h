// The commands. Each returns ok, or what `coffer` ends with.
#pragma once

#include "fs/cli/failure.h"
#include "fs/cli/options.h"

namespace coffer::cli {

Outcome<void> run_init(const Arguments& arguments);
// The code is that of the parent: of the daemon once that is ready, or its failure, already reported.
Outcome<int> run_mount(const Arguments& arguments);
Outcome<void> run_unmount(const Arguments& arguments);
Outcome<void> run_sync(const Arguments& arguments);
Outcome<void> run_status(const Arguments& arguments);
Outcome<void> run_conflicts(const Arguments& arguments);
Outcome<void> run_ls(const Arguments& arguments);
Outcome<void> run_cat(const Arguments& arguments);
Outcome<void> run_export(const Arguments& arguments);
Outcome<void> run_check(const Arguments& arguments);
Outcome<void> run_gc(const Arguments& arguments);
Outcome<void> run_key_list(const Arguments& arguments);
Outcome<void> run_key_add(const Arguments& arguments);
Outcome<void> run_key_remove(const Arguments& arguments);
Outcome<void> run_key_change(const Arguments& arguments);
Outcome<void> run_key_rotate(const Arguments& arguments);
Outcome<void> run_key_forget(const Arguments& arguments);
Outcome<void> run_device_list(const Arguments& arguments);
Outcome<void> run_device_add(const Arguments& arguments);
Outcome<void> run_device_join(const Arguments& arguments);
Outcome<void> run_device_revoke(const Arguments& arguments);

}  // namespace coffer::cli
