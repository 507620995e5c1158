// The standard actors, with a bug in counters that can be deployed and mended at run time.
#pragma once

#include <functional>
#include <memory>

#include "actors/actor_type.h"

namespace soma::sim {

// While `deployed()` says true, decide throws on a counter's Add of certain amounts.
std::unique_ptr<actors::Catalog> make_buggy_catalog(std::function<bool()> deployed);

}  // namespace soma::sim
