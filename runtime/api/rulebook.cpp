// Actors are asked once per tenant; after that their frames tell.
#include "runtime/api/rulebook.h"

#include "actors/constitution/constitution.h"
#include "actors/policy/rules.h"
#include "actors/rules/rules.h"

namespace soma::runtime::api {

std::optional<Rulebook::Rules> Rulebook::remembered(const std::string& tenant) const {
  std::lock_guard lock(mutex_);
  auto it = known_.find(tenant);
  if (it == known_.end()) return std::nullopt;
  return it->second;
}

void Rulebook::one(Host& host, const std::string& tenant, std::function<void(Result<Rules>)> done) {
  if (auto known = remembered(tenant); known && host.observes_all()) return done(std::move(*known));
  host.read(actors::rules_key(tenant), [this, tenant,
                                        done = std::move(done)](Result<StateView> view) {
    if (!view) return done(tl::unexpected(view.error()));
    const auto& state = static_cast<const v1::RulesState&>(*view->state);
    Rules known;
    if (state.has_active()) known = std::make_shared<const v1::PolicyRules>(state.active());
    {
      std::lock_guard lock(mutex_);
      auto it = known_.find(tenant);
      // A frame that came meanwhile is newer than what was read.
      if (it != known_.end() && it->second && (!known || it->second->version() > known->version()))
        known = it->second;
      if (known_.size() < kMaxRemembered || it != known_.end()) known_[tenant] = known;
    }
    done(std::move(known));
  });
}

void Rulebook::in_force(Host& host, const std::string& tenant,
                        std::function<void(Result<InForce>)> done) {
  one(host, tenant, [this, &host, done = std::move(done)](Result<Rules> own) {
    if (!own) return done(tl::unexpected(own.error()));
    if (*own) return done(InForce{std::move(*own), false});
    one(host, actors::kGlobalTenant, [done](Result<Rules> global) {
      if (!global) return done(tl::unexpected(global.error()));
      done(InForce{std::move(*global), true});
    });
  });
}

void Rulebook::follow(const events::ValidFrame& valid) {
  for (const auto& entry : valid.frame->entries()) {
    if (entry.actor().type() != actors::RulesDecider::kName) continue;
    for (const auto& recorded : entry.events()) {
      v1::RulesEvent event;
      if (!event.ParseFromString(recorded.payload()) || !event.has_updated()) continue;
      auto known = std::make_shared<const v1::PolicyRules>(event.updated().rules());
      std::lock_guard lock(mutex_);
      known_[entry.actor().tenant()] = std::move(known);
    }
  }
}

v1::RulesInForce all_rules(const Rulebook::InForce& in_force) {
  v1::RulesInForce out;
  if (!in_force.rules) return out;
  out.set_number(in_force.rules->version());
  out.set_hash(in_force.rules->hash());
  out.set_text(in_force.rules->text());
  return out;
}

v1::RulesInForce rules_for(const Rulebook::InForce& in_force, const std::string& action_id) {
  v1::RulesInForce out;
  if (!in_force.rules) return out;
  out.set_number(in_force.rules->version());
  out.set_hash(in_force.rules->hash());
  const std::string& text = in_force.rules->text();
  if (text.empty()) return out;
  auto about = actors::rules_about(text, action_id);
  out.set_text(about ? std::move(*about) : text);
  return out;
}

}  // namespace soma::runtime::api
