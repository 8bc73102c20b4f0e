#include "fs/fuse/fuse_arguments.h"

#include <cstdarg>
#include <cstdio>

#include "base/log.h"

namespace coffer::fuse {
namespace {

void log_message(fuse_log_level level, const char* format, va_list args) noexcept {
  char text[512];
  vsnprintf(text, sizeof text, format, args);
  std::string line = text;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  log_line(level <= FUSE_LOG_ERR ? LogLevel::kWarning : LogLevel::kDebug, line);
}

struct OptionList {
  char* text = nullptr;
  ~OptionList() { free(text); }
  bool add(const std::string& option) { return fuse_opt_add_opt_escaped(&text, option.c_str()) == 0; }
};

}  // namespace

Result<std::unique_ptr<FuseArguments>> FuseArguments::of(const MountPlace& place) {
  std::unique_ptr<FuseArguments> out(new FuseArguments());
  OptionList list;
  bool ok = list.add("fsname=" + (place.source.empty() ? std::string("coffer") : place.source)) &&
            list.add("subtype=coffer") && list.add("default_permissions");
  if (place.allow_other) ok = ok && list.add("allow_other");
  if (place.read_only) ok = ok && list.add("ro");
  fuse_args* args = out->get();
  ok = ok && fuse_opt_add_arg(args, "coffer") == 0 && fuse_opt_add_arg(args, "-o") == 0 &&
       fuse_opt_add_arg(args, list.text) == 0;
  for (const std::string& extra : place.fuse_options)
    ok = ok && fuse_opt_add_arg(args, "-o") == 0 && fuse_opt_add_arg(args, extra.c_str()) == 0;
  if (!ok) return fail(Code::kNoSpace, "out of memory");
  return out;
}

void take_libfuse_messages() { fuse_set_log_func(log_message); }

}  // namespace coffer::fuse
