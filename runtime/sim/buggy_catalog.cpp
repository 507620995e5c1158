// A decorator around every type; only decide differs.
#include "runtime/sim/buggy_catalog.h"

#include <stdexcept>

#include "soma/v1/counter.pb.h"

namespace soma::sim {

namespace {

using actors::ActorType;
using actors::Message;

class Decorated final : public ActorType {
 public:
  Decorated(std::shared_ptr<const actors::Catalog> owner, const ActorType& inner,
            std::shared_ptr<const Twist> twist)
      : owner_(std::move(owner)), inner_(inner), twist_(std::move(twist)) {}
  std::string_view name() const override { return inner_.name(); }
  std::unique_ptr<Message> new_state() const override { return inner_.new_state(); }
  std::unique_ptr<Message> new_command() const override { return inner_.new_command(); }
  std::unique_ptr<Message> new_event() const override { return inner_.new_event(); }
  std::unique_ptr<Message> new_reply() const override { return inner_.new_reply(); }
  Result<actors::ErasedDecision> decide(const ActorKey& self, const Message& state,
                                        const Message& command,
                                        const v1::Context& context) const override {
    return (*twist_)(inner_, self, state, command, context);
  }
  void evolve(Message& state, const Message& event) const override { inner_.evolve(state, event); }
  bool has_effects() const override { return inner_.has_effects(); }
  std::vector<actors::Effect> effects(const ActorKey& self, const Message& state) const override {
    return inner_.effects(self, state);
  }
  std::string event_type(const Message& event) const override { return inner_.event_type(event); }
  std::string outcome_command(const v1::EffectOutcome& outcome) const override {
    return inner_.outcome_command(outcome);
  }
  std::optional<std::string> resolve_command(const v1::ResolveEffect& decision) const override {
    return inner_.resolve_command(decision);
  }
  const std::string& schema_hash() const override { return inner_.schema_hash(); }

 private:
  std::shared_ptr<const actors::Catalog> owner_;
  const ActorType& inner_;
  std::shared_ptr<const Twist> twist_;
};

}  // namespace

std::unique_ptr<actors::Catalog> make_twisted_catalog(std::shared_ptr<const actors::Catalog> inner,
                                                      Twist twist) {
  const auto shared = std::make_shared<const Twist>(std::move(twist));
  std::vector<std::unique_ptr<ActorType>> types;
  for (const ActorType* type : inner->all())
    types.push_back(std::make_unique<Decorated>(inner, *type, shared));
  return std::make_unique<actors::Catalog>(std::move(types));
}

std::unique_ptr<actors::Catalog> make_buggy_catalog(std::shared_ptr<const actors::Catalog> inner,
                                                    std::function<bool()> deployed) {
  return make_twisted_catalog(std::move(inner),
                              [deployed = std::move(deployed)](
                                  const ActorType& type, const ActorKey& self, const Message& state,
                                  const Message& command, const v1::Context& context) {
                                if (type.name() == "counter" && deployed()) {
                                  const auto& c = static_cast<const v1::CounterCommand&>(command);
                                  if (c.has_add() && c.add().amount() % 4 == 3)
                                    throw std::runtime_error("simulated: a bug of this build");
                                }
                                return type.decide(self, state, command, context);
                              });
}

}  // namespace soma::sim
