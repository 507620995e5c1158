// Preloaded into `soma`: its wall clock is another than the machine's, as the test says from moment
// to moment; its steady clock is not touched.
//
// CLOCK_SHIM_FILE: 24 bytes, read at each call: three integers of 64 bits. The wall clock is off by
// the first (ns), and by the second (parts per million) of what the steady clock has gone beyond
// the third (ns).
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

struct Setting {
  std::atomic<std::int64_t> off_ns, drift_ppm, since_ns;
};

// Nothing is allocated here: an allocator asks for the time while it sets itself up.
const Setting* setting() {
  static const Setting* const mapped = [] {
    const char* path = std::getenv("CLOCK_SHIM_FILE");
    const int fd = path ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* at = fd < 0 ? MAP_FAILED : ::mmap(nullptr, sizeof(Setting), PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0) ::close(fd);
    if (path && at == MAP_FAILED) std::abort();  // a test without its fault proves nothing
    return path ? static_cast<const Setting*>(at) : nullptr;
  }();
  return mapped;
}

template <typename F>
F* real(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) static const auto next = real<decltype(::name)>(#name)

int true_time(clockid_t clock, timespec* out) {
  static const auto next = real<decltype(::clock_gettime)>("clock_gettime");
  return next(clock, out);
}

std::int64_t ns_of(const timespec& t) { return t.tv_sec * kSecond + t.tv_nsec; }

timespec from_ns(std::int64_t ns) {
  if (ns < 0) ns = 0;
  return {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
}

std::int64_t off_ns() {
  const auto* s = setting();
  if (!s) return 0;
  std::int64_t off = s->off_ns;
  if (const std::int64_t ppm = s->drift_ppm; ppm != 0) {
    timespec steady{};
    true_time(CLOCK_MONOTONIC, &steady);
    off += (ns_of(steady) - s->since_ns) / 1'000'000 * ppm;
  }
  return off;
}

bool is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

// The kernel waits by the machine's clock.
timespec of_the_machine(const timespec& shown) { return from_ns(ns_of(shown) - off_ns()); }

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* out) {
  const int result = true_time(clock, out);
  if (result == 0 && is_wall(clock)) *out = from_ns(ns_of(*out) + off_ns());
  return result;
}

int gettimeofday(timeval* out, void* /*zone*/) {
  timespec now{};
  const int result = clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = {now.tv_sec, now.tv_nsec / 1000};
  return result;
}

time_t time(time_t* out) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* until) {
  // Of a condition made for the steady clock this would be wrong; libstdc++ makes none.
  REAL(pthread_cond_timedwait);
  const timespec at = of_the_machine(*until);
  return next(condition, mutex, &at);
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* until) {
  REAL(pthread_cond_clockwait);
  const timespec at = is_wall(clock) ? of_the_machine(*until) : *until;
  return next(condition, mutex, clock, &at);
}

int sem_timedwait(sem_t* semaphore, const timespec* until) {
  REAL(sem_timedwait);
  const timespec at = of_the_machine(*until);
  return next(semaphore, &at);
}

int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* until) {
  REAL(pthread_mutex_timedlock);
  const timespec at = of_the_machine(*until);
  return next(mutex, &at);
}

}  // extern "C"
