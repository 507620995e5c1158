// One flag, set by the handler.
#include "tools/cli/interrupt.h"

#include <signal.h>

#include <csignal>

namespace soma::cli {

namespace {
volatile std::sig_atomic_t heard = 0;
}

void hear_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { heard = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return heard != 0; }

}  // namespace soma::cli
