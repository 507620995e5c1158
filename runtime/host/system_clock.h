// Wall time and alarms of the real machine.
#pragma once

#include <memory>

#include "runtime/host/ports.h"

namespace soma::runtime {

// One thread that sleeps until the next alarm. Destroying it drops alarms that have not rung.
std::unique_ptr<Clock> make_system_clock();

}  // namespace soma::runtime
