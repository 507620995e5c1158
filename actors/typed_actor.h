// Turns a plain typed decider into an ActorType.
#pragma once

#include <google/protobuf/io/coded_stream.h>

#include "actors/actor_type.h"
#include "soma/v1/effect.pb.h"

namespace soma::actors {

// Of the schemas of state and event, and of the sources of the type `name`.
std::string schema_hash_of(std::string_view name, const google::protobuf::Descriptor* state,
                           const google::protobuf::Descriptor* event);

// D is a struct of static functions over its own State, Command, Event and Reply; see
// counter/counter.h. Without `effects` no state of the type calls for any. Each of its switches
// over a oneof has no default, so that an unhandled case does not compile.
template <typename D>
class TypedActor final : public ActorType {
 public:
  TypedActor() : hash_(schema_hash_of(D::kName, D::State::descriptor(), D::Event::descriptor())) {}
  std::string_view name() const override { return D::kName; }
  std::unique_ptr<Message> new_state() const override {
    return std::make_unique<typename D::State>();
  }
  std::unique_ptr<Message> new_command() const override {
    return std::make_unique<typename D::Command>();
  }
  std::unique_ptr<Message> new_event() const override {
    return std::make_unique<typename D::Event>();
  }
  std::unique_ptr<Message> new_reply() const override {
    return std::make_unique<typename D::Reply>();
  }

  Result<ErasedDecision> decide(const ActorKey& self, const Message& state, const Message& command,
                                const v1::Context& context) const override {
    auto typed = D::decide(self, static_cast<const typename D::State&>(state),
                           static_cast<const typename D::Command&>(command), context);
    if (!typed) return tl::unexpected(typed.error());
    ErasedDecision out;
    for (auto& event : typed->events)
      out.events.push_back(std::make_unique<typename D::Event>(std::move(event)));
    out.sends = std::move(typed->sends);
    out.reply = deterministic_bytes(typed->reply);
    return out;
  }

  void evolve(Message& state, const Message& event) const override {
    D::evolve(static_cast<typename D::State&>(state), static_cast<const typename D::Event&>(event));
  }

  bool has_effects() const override {
    return requires(const typename D::State& state) { D::effects(ActorKey{}, state); };
  }

  std::vector<Effect> effects(const ActorKey& self, const Message& state) const override {
    if constexpr (requires { D::effects(self, static_cast<const typename D::State&>(state)); })
      return D::effects(self, static_cast<const typename D::State&>(state));
    return {};
  }

  std::string event_type(const Message& event) const override {
    return D::event_type(static_cast<const typename D::Event&>(event));
  }

  std::string outcome_command(const v1::EffectOutcome& outcome) const override {
    typename D::Command command;
    *command.mutable_effect_outcome() = outcome;
    return deterministic_bytes(command);
  }

  std::optional<std::string> resolve_command(const v1::ResolveEffect& decision) const override {
    typename D::Command command;
    if constexpr (requires { command.mutable_resolve_effect(); }) {
      *command.mutable_resolve_effect() = decision;
      return deterministic_bytes(command);
    }
    return {};
  }

  const std::string& schema_hash() const override { return hash_; }

 private:
  const std::string hash_;
};

}  // namespace soma::actors
