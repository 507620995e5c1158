// Bugs of deciders, planted by changing what decide is given. None is in a product build.
#pragma once

#include "runtime/sim/buggy_catalog.h"

namespace soma {

Result<actors::ErasedDecision> own_second_key(const actors::ActorType& type, const ActorKey& self,
                                              const actors::Message& state,
                                              const actors::Message& command,
                                              const v1::Context& context);
Result<actors::ErasedDecision> rejection_ignored(const actors::ActorType& type,
                                                 const ActorKey& self, const actors::Message& state,
                                                 const actors::Message& command,
                                                 const v1::Context& context);
Result<actors::ErasedDecision> limit_forgotten(const actors::ActorType& type, const ActorKey& self,
                                               const actors::Message& state,
                                               const actors::Message& command,
                                               const v1::Context& context);
Result<actors::ErasedDecision> lock_given_twice(const actors::ActorType& type, const ActorKey& self,
                                                const actors::Message& state,
                                                const actors::Message& command,
                                                const v1::Context& context);
Result<actors::ErasedDecision> second_key_left_out(const actors::ActorType& type,
                                                   const ActorKey& self,
                                                   const actors::Message& state,
                                                   const actors::Message& command,
                                                   const v1::Context& context);

Result<actors::ErasedDecision> allowed_for_ever(const actors::ActorType& type, const ActorKey& self,
                                                const actors::Message& state,
                                                const actors::Message& command,
                                                const v1::Context& context);
Result<actors::ErasedDecision> delegate_forgotten(const actors::ActorType& type,
                                                  const ActorKey& self,
                                                  const actors::Message& state,
                                                  const actors::Message& command,
                                                  const v1::Context& context);

Result<actors::ErasedDecision> calls_unjudged(const actors::ActorType& type, const ActorKey& self,
                                              const actors::Message& state,
                                              const actors::Message& command,
                                              const v1::Context& context);
Result<actors::ErasedDecision> window_restarts(const actors::ActorType& type, const ActorKey& self,
                                               const actors::Message& state,
                                               const actors::Message& command,
                                               const v1::Context& context);

}  // namespace soma
