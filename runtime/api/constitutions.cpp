// Actors are asked once per tenant; after that their frames tell.
#include "runtime/api/constitutions.h"

#include "actors/constitution/constitution.h"
#include "runtime/security/authenticator.h"

namespace soma::runtime::api {

const security::TrustedKeys& Constitutions::trusted_in(const std::string& mode) const {
  return security::is_developer_mode(mode) ? developer_ : configured_;
}

const security::TrustedKeys& Constitutions::trusted() const {
  return in_developer_mode_ ? developer_ : configured_;
}

void Constitutions::set_mode(const std::string& mode) {
  in_developer_mode_ = security::is_developer_mode(mode);
}

std::optional<Constitutions::Known> Constitutions::remembered(const std::string& tenant) const {
  std::lock_guard lock(mutex_);
  auto it = known_.find(tenant);
  if (it == known_.end()) return std::nullopt;
  return it->second;
}

bool Constitutions::usable(const Known& known) const {
  return known && trusted().trusts(known->key_id());
}

void Constitutions::one(Host& host, const std::string& tenant,
                        std::function<void(Result<Known>)> done) {
  if (auto known = remembered(tenant); known && host.observes_all()) return done(std::move(*known));
  host.read(actors::constitution_key(tenant), [this, tenant,
                                               done = std::move(done)](Result<StateView> view) {
    if (!view) return done(tl::unexpected(view.error()));
    const auto& state = static_cast<const v1::ConstitutionState&>(*view->state);
    Known known;
    if (state.has_active()) known = std::make_shared<const v1::Constitution>(state.active());
    {
      std::lock_guard lock(mutex_);
      auto it = known_.find(tenant);
      // A frame that came meanwhile is newer than what was read.
      if (it != known_.end() && it->second && (!known || it->second->number() > known->number()))
        known = it->second;
      if (known_.size() < kMaxRemembered || it != known_.end()) known_[tenant] = known;
    }
    done(std::move(known));
  });
}

void Constitutions::in_force(Host& host, const std::string& tenant, Done done) {
  one(host, tenant, [this, &host, done = std::move(done)](Result<Known> own) {
    if (!own) return done(tl::unexpected(own.error()));
    if (*own)  // its own, or refused: another's rules never stand in for broken ones
      return done(usable(*own) ? std::optional<InForce>({std::move(*own), false}) : std::nullopt);
    one(host, actors::kGlobalTenant, [this, done](Result<Known> global) {
      if (!global) return done(tl::unexpected(global.error()));
      done(usable(*global) ? std::optional<InForce>({std::move(*global), true}) : std::nullopt);
    });
  });
}

std::optional<std::string> Constitutions::hash_now(const std::string& tenant) const {
  auto known = remembered(tenant);
  if (known && !*known) known = remembered(actors::kGlobalTenant);
  if (!known) return std::nullopt;
  return usable(*known) ? (*known)->hash() : std::string();
}

void Constitutions::follow(const events::ValidFrame& valid) {
  for (const auto& entry : valid.frame->entries()) {
    if (entry.actor().type() != actors::ConstitutionDecider::kName) continue;
    for (const auto& recorded : entry.events()) {
      v1::ConstitutionEvent event;
      if (!event.ParseFromString(recorded.payload()) || !event.has_updated()) continue;
      auto known = std::make_shared<const v1::Constitution>(event.updated().constitution());
      std::lock_guard lock(mutex_);
      known_[entry.actor().tenant()] = std::move(known);
    }
  }
}

}  // namespace soma::runtime::api
