// The erased face of a decider, by which host, replay and tools handle every actor type alike.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/decider.h"

namespace soma::v1 {
class ResolveEffect;
}

namespace soma::actors {

using google::protobuf::Message;

struct ErasedDecision {
  std::vector<std::unique_ptr<Message>> events;  // of the type's Event message
  std::vector<OutSend> sends;
  std::string reply;  // serialized Reply message; deterministic bytes
};

// Immutable and stateless; one instance per type, owned by the Catalog. Thread-safe.
class ActorType {
 public:
  virtual ~ActorType() = default;
  virtual std::string_view name() const = 0;  // "session"
  virtual std::unique_ptr<Message> new_state() const = 0;
  virtual std::unique_ptr<Message> new_command() const = 0;
  virtual std::unique_ptr<Message> new_event() const = 0;
  virtual std::unique_ptr<Message> new_reply() const = 0;
  // `self` is the actor's own key. May throw only on a defect (the host retries once, then parks).
  virtual Result<ErasedDecision> decide(const ActorKey& self, const Message& state,
                                        const Message& command,
                                        const v1::Context& context) const = 0;
  virtual void evolve(Message& state, const Message& event) const = 0;
  // False: no state of the type calls for an effect.
  virtual bool has_effects() const = 0;
  virtual std::vector<Effect> effects(const ActorKey& self, const Message& state) const = 0;
  // Public name of an event: "session.started".
  virtual std::string event_type(const Message& event) const = 0;
  // The Command that carries an effect's outcome back.
  virtual std::string outcome_command(const v1::EffectOutcome& outcome) const = 0;
  // The Command by which a person settles an unknown outcome; nothing: this type has no such
  // effects.
  virtual std::optional<std::string> resolve_command(const v1::ResolveEffect& decision) const = 0;
  // SHA-256 over the descriptors of state and event, and over the type's sources: snapshots that
  // another schema or another evolve() made are not used.
  virtual const std::string& schema_hash() const = 0;
};

// All actor types of a build, by name. Immutable after construction; no static registry: main wires
// it.
class Catalog {
 public:
  explicit Catalog(std::vector<std::unique_ptr<ActorType>> types);
  const ActorType* find(std::string_view name) const;  // nullptr when unknown
  std::vector<const ActorType*> all() const;           // by name
 private:
  std::vector<std::unique_ptr<ActorType>> types_;
};

// Every actor type of this build.
std::unique_ptr<Catalog> standard_catalog();

// Serializes with a fixed order of map entries, so that equal messages give equal bytes.
std::string deterministic_bytes(const Message& message);

}  // namespace soma::actors
