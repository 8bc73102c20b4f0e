// A named thread that is asked to stop, then joined, by its owner's destructor.
#pragma once

#include <pthread.h>

#include <string>
#include <thread>

namespace coffer {

// `name` is at most 15 characters (the kernel's limit). `body` takes a std::stop_token or nothing.
template <typename F>
std::jthread start_thread(const char* name, F&& body) {
  std::jthread t(std::forward<F>(body));
  pthread_setname_np(t.native_handle(), name);
  return t;
}

}  // namespace coffer
