#include "fs/cli/failure.h"

#include <cstdio>

namespace coffer::cli {

Exit exit_for(Code code) {
  switch (code) {
    case Code::kUnavailable:
    case Code::kTimedOut:
    case Code::kUntrusted:
      return Exit::kStoreUnreachable;
    case Code::kCancelled:
      return Exit::kCutShort;
    case Code::kDenied:
    case Code::kNotPermitted:
      return Exit::kPermission;
    case Code::kCorrupt:
      return Exit::kDamaged;
    case Code::kUnsupported:
    case Code::kTooNew:
      return Exit::kUnsupported;
    case Code::kBusy:
      return Exit::kBusy;
    case Code::kInvalid:
      return Exit::kUsage;
    default:
      return Exit::kGeneral;
  }
}

namespace {

std::string advice_for(Code code) {
  switch (code) {
    case Code::kUnavailable:
    case Code::kTimedOut:
      return "Check the store's address, and the network or its disk, then try again.";
    case Code::kUntrusted:
      return "If the store's certificate is from an authority of your own, name its PEM file with --ca-file.";
    case Code::kTooNew:
      return "Install a newer coffer.";
    case Code::kNoSpace:
      return "Make room, then try again.";
    default:
      return "";
  }
}

}  // namespace

Failure::Failure(const Error& error)
    : exit(exit_for(error.code())), what(error.what()), todo(advice_for(error.code())) {}

int report(const Failure& failure) {
  std::string text = "coffer: " + failure.what + "\n";
  if (!failure.todo.empty()) text += "        " + failure.todo + "\n";
  std::fputs(text.c_str(), stderr);
  return static_cast<int>(failure.exit);
}

}  // namespace coffer::cli
