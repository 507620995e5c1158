// Names of threads, as top, perf and a debugger show them.
#pragma once

#include <pthread.h>

namespace soma {

// Of the calling thread; at most 15 characters, longer ones are not taken.
inline void name_thread(const char* name) { ::pthread_setname_np(::pthread_self(), name); }

}  // namespace soma
