// C11 threads as POSIX threads, for ThreadSanitizer builds only: it knows nothing of thrd_create,
// by which librdkafka makes its threads, and stops the program in the first of them. glibc's types
// of both families have the same size and, zeroed, the same meaning.
#include <pthread.h>
#include <threads.h>

#include <cerrno>
#include <cstdint>
#include <memory>

namespace {

static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t));
static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t));

pthread_mutex_t* of(mtx_t* m) { return reinterpret_cast<pthread_mutex_t*>(m); }
pthread_cond_t* of(cnd_t* c) { return reinterpret_cast<pthread_cond_t*>(c); }

int result(int error) {
  switch (error) {
    case 0:
      return thrd_success;
    case ENOMEM:
      return thrd_nomem;
    case ETIMEDOUT:
      return thrd_timedout;
    case EBUSY:
      return thrd_busy;
    default:
      return thrd_error;
  }
}

struct Start {
  thrd_start_t run;
  void* argument;
};

void* started(void* given) {
  const std::unique_ptr<Start> start(static_cast<Start*>(given));
  return reinterpret_cast<void*>(static_cast<std::intptr_t>(start->run(start->argument)));
}

}  // namespace

extern "C" {

int thrd_create(thrd_t* thread, thrd_start_t run, void* argument) {
  auto start = std::make_unique<Start>(Start{run, argument});
  const int error = pthread_create(thread, nullptr, started, start.get());
  if (error == 0) start.release();
  return result(error);
}

int thrd_join(thrd_t thread, int* out) {
  void* value = nullptr;
  const int error = pthread_join(thread, &value);
  if (error == 0 && out) *out = static_cast<int>(reinterpret_cast<std::intptr_t>(value));
  return result(error);
}

int mtx_init(mtx_t* m, int type) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  if (type & mtx_recursive) pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  const int error = pthread_mutex_init(of(m), &attributes);
  pthread_mutexattr_destroy(&attributes);
  return result(error);
}
void mtx_destroy(mtx_t* m) { pthread_mutex_destroy(of(m)); }
int mtx_lock(mtx_t* m) { return result(pthread_mutex_lock(of(m))); }
int mtx_trylock(mtx_t* m) { return result(pthread_mutex_trylock(of(m))); }
int mtx_unlock(mtx_t* m) { return result(pthread_mutex_unlock(of(m))); }

int cnd_init(cnd_t* c) { return result(pthread_cond_init(of(c), nullptr)); }
void cnd_destroy(cnd_t* c) { pthread_cond_destroy(of(c)); }
int cnd_signal(cnd_t* c) { return result(pthread_cond_signal(of(c))); }
int cnd_broadcast(cnd_t* c) { return result(pthread_cond_broadcast(of(c))); }
int cnd_wait(cnd_t* c, mtx_t* m) { return result(pthread_cond_wait(of(c), of(m))); }
int cnd_timedwait(cnd_t* c, mtx_t* m, const timespec* until) {
  return result(pthread_cond_timedwait(of(c), of(m), until));
}

}  // extern "C"
