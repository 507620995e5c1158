// Preloaded into a process: one allocation of its choosing throws std::bad_alloc. The countdown is
// an int64 in the file SOMA_FAIL_NEW_FILE, which both sides map: the test sets it to N, and the
// N-th `new` from then on fails. 0 or less: none does.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::int64_t>* map_countdown() {
  const char* path = std::getenv("SOMA_FAIL_NEW_FILE");
  const int file = path ? ::open(path, O_RDWR) : -1;
  if (file < 0) return nullptr;
  void* at = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  return at == MAP_FAILED ? nullptr : static_cast<std::atomic<std::int64_t>*>(at);
}

bool fails_now() {
  static std::atomic<std::int64_t>* const countdown = map_countdown();
  return countdown && countdown->load(std::memory_order_relaxed) > 0 &&
         countdown->fetch_sub(1) == 1;
}

}  // namespace

void* operator new(std::size_t bytes) {
  void* const memory = fails_now() ? nullptr : std::malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
