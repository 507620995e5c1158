// What a decider is: decide, evolve, effects. Pure: no I/O, clock, randomness, thread or log call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "schemas/base/errors.h"
#include "schemas/base/ids.h"
#include "soma/v1/common.pb.h"

namespace soma::actors {

// How an effect may be repeated when its outcome is not known.
enum class EffectClass : std::uint8_t {
  kIdempotent,  // may be run again with the same effect id
  kProbeable,   // the provider can be asked whether it happened
  kAtMostOnce,  // never run again once begun: the outcome becomes `unknown`
};

// Work outside the log that a state calls for. (effect_id, attempt) names one try: a runner starts
// each such pair at most once per life of the process, and again after recovery if the class allows
// it.
struct Effect {
  std::string effect_id;  // stable; sent as Idempotency-Key
  std::string kind;       // "slm.chat", "memory.recall", "memory.embed", "timer", …
  EffectClass effect_class = EffectClass::kIdempotent;
  std::uint32_t attempt = 1;       // a decider raises it to have the effect tried again
  std::int64_t not_before_ms = 0;  // Unix time; a timer's due time, or the end of a back-off
  std::int64_t deadline_ms = 0;    // Unix time; 0: none
  std::string request;             // serialized request message of the kind; empty for a timer
  bool seen_while_running =
      false;            // others watch it run: after a crash it is reported `interrupted`, so that
                        // the decider begins a new attempt and all can be told
  std::string unknown;  // why nobody can say whether it took effect; such a one is shown, never
                        // run, until a person settles it
};

// A command to another actor; the command's id is derived by the host from the entry it came with.
struct OutSend {
  ActorKey to;
  std::string command;  // serialized Command message of the target's type
};

// What the command led to, whole: it commits with the input's position or not at all.
template <typename Event, typename Reply>
struct Decision {
  std::vector<Event> events;
  std::vector<OutSend> sends;
  Reply reply;
};

// Event types are dotted lower-case facts. An Event message is a oneof; actor types name its cases.

// Deterministic id from the command: same command, same ids, for ever. `index` tells several apart.
std::string derive_id(const v1::Context& context, std::string_view prefix, std::uint32_t index = 0);

ActorKey to_key(const v1::ActorRef& ref);
v1::ActorRef to_ref(const ActorKey& key);

}  // namespace soma::actors
