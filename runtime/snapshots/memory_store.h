// A StateStore in memory: for the simulator and for tests.
#pragma once

#include <memory>

#include "runtime/host/ports.h"

namespace soma::runtime {

std::unique_ptr<StateStore> make_memory_store();

}  // namespace soma::runtime
