// The actors with another decide: a bad build that is deployed and mended at run time, or a planted
// bug.
#pragma once

#include <functional>
#include <memory>

#include "actors/actor_type.h"

namespace soma::sim {

// Decides in the place of `type`, of which it may make use.
using Twist = std::function<Result<actors::ErasedDecision>(
    const actors::ActorType& type, const ActorKey& self, const actors::Message& state,
    const actors::Message& command, const v1::Context& context)>;

// All types of `inner`; only decide differs.
std::unique_ptr<actors::Catalog> make_twisted_catalog(std::shared_ptr<const actors::Catalog> inner,
                                                      Twist twist);

// While `deployed()` says true, decide throws on a counter's Add of certain amounts.
std::unique_ptr<actors::Catalog> make_buggy_catalog(std::shared_ptr<const actors::Catalog> inner,
                                                    std::function<bool()> deployed);

}  // namespace soma::sim
