#include "tests/sim/fiber.h"

#include <link.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/sim/scheduler.h"

#if !defined(__x86_64__)
#error "a switch of fibers is written for x86-64 only"
#endif

// Saves what a call must keep on the stack, and the stack in `*from`; goes on with `to`. swapcontext does the same, and asks the
// kernel for the signal mask each time, which was most of its cost.
extern "C" void coffer_sim_switch(void** from, void* to);
asm(R"(
.text
.type coffer_sim_switch,@function
coffer_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  stmxcsr (%rsp)
  fnstcw 4(%rsp)
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  ldmxcsr (%rsp)
  fldcw 4(%rsp)
  addq $8, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size coffer_sim_switch,.-coffer_sim_switch
)");

namespace coffer::sim {
namespace {

constexpr size_t kStack = 512 << 10;  // of address space
constexpr size_t kGuard = 4096;

// The program's block of thread_local variables: where this OS thread has it, and what a new thread begins with.
struct Locals {
  char* here = nullptr;
  size_t size = 0;
  const char* image = nullptr;
  size_t image_size = 0;

  Locals() {
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* arg) {  // the program comes first
          auto& self = *static_cast<Locals*>(arg);
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const ElfW(Phdr)& header = info->dlpi_phdr[i];
            if (header.p_type != PT_TLS) continue;
            self.here = static_cast<char*>(info->dlpi_tls_data);
            self.size = header.p_memsz;
            self.image = reinterpret_cast<const char*>(info->dlpi_addr + header.p_vaddr);
            self.image_size = header.p_filesz;
          }
          return 1;
        },
        this);
  }
};

const Locals& locals() {
  static const Locals l;
  return l;
}

std::vector<void*>& spare_stacks() {
  static std::vector<void*> stacks;
  return stacks;
}

void enter() {
  Fiber& self = Scheduler::current()->self();
  self.body();
  while (!self.at_end.empty()) {
    auto [destroy, object] = self.at_end.back();
    self.at_end.pop_back();
    destroy(object);
  }
  self.ended = true;
  Scheduler::current()->wake(&self);
  Scheduler::current()->wait(nullptr);
  std::abort();
}

}  // namespace

FiberContext::FiberContext() : locals_(locals().size) {
  std::memcpy(locals_.data(), locals().image, locals().image_size);
}

void FiberContext::switch_to(FiberContext& next) {
  const int saved = errno;
  std::memcpy(locals_.data(), locals().here, locals().size);
  std::memcpy(locals().here, next.locals_.data(), locals().size);
  coffer_sim_switch(&stack_pointer_, next.stack_pointer_);
  errno = saved;
}

Fiber::Fiber(uint64_t the_id, std::string the_name, std::function<void()> the_body)
    : id(the_id), name(std::move(the_name)), body(std::move(the_body)) {
  if (spare_stacks().empty()) {
    stack_ = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack_ == MAP_FAILED || mprotect(stack_, kGuard, PROT_NONE) != 0) std::abort();
  } else {
    stack_ = spare_stacks().back();
    spare_stacks().pop_back();
  }
  // What coffer_sim_switch() takes from a stack, so that its `ret` calls enter().
  auto* top = reinterpret_cast<uint64_t*>(static_cast<char*>(stack_) + kStack);
  *--top = 0;  // enter() never returns
  *--top = reinterpret_cast<uint64_t>(&enter);
  for (int i = 0; i < 6; ++i) *--top = 0;
  *--top = uint64_t{0x37f} << 32 | 0x1f80;  // the x87 control word and mxcsr of a new thread
  context.stack_pointer_ = top;
}

Fiber::~Fiber() { spare_stacks().push_back(stack_); }

}  // namespace coffer::sim
