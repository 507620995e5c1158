// What a step of a connection throws ends neither its thread nor the node.
#pragma once

#include <exception>
#include <new>

#include "runtime/telemetry/log.h"

namespace soma::runtime::http {

// False: it threw, and that is logged. Memory that ran out is not borne: the node ends, and its
// restart is replay.
template <typename Step>
bool guarded(const Step& step) {
  try {
    step();
    return true;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    log_error("connection_threw", {{"reason", e.what()}});
    return false;
  }
}

}  // namespace soma::runtime::http
