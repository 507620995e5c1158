// Compared by hash and version; only what differs is told whole.
#include "runtime/api/terms_in_force.h"

#include <algorithm>
#include <set>

#include "actors/constitution/constitution.h"
#include "actors/gateway/gateway.h"
#include "actors/policy/call_terms.h"
#include "actors/rules/rules.h"
#include "actors/tenant/tenant.h"
#include "runtime/api/guards.h"
#include "runtime/api/submit.h"
#include "runtime/security/may.h"

namespace soma::runtime::api {

namespace {

bool same_capabilities(const v1::Principal& a, const v1::Principal& b) {
  return std::set<std::string>(a.capabilities().begin(), a.capabilities().end()) ==
         std::set<std::string>(b.capabilities().begin(), b.capabilities().end());
}

// Whether a frame's entry may change what is in force somewhere.
bool governs(const v1::ActorRef& actor) {
  const std::string& type = actor.type();
  return type == actors::ConstitutionDecider::kName || type == actors::RulesDecider::kName ||
         type == actors::GatewayDecider::kName;
}

}  // namespace

void TermsInForce::follow(const events::ValidFrame& valid) {
  for (const auto& entry : valid.frame->entries()) {
    const bool settings = entry.actor().type() == actors::TenantDecider::kName &&
                          std::any_of(entry.events().begin(), entry.events().end(),
                                      [](const auto& e) { return e.type() == "settings.changed"; });
    if (!settings && (entry.events().empty() || !governs(entry.actor()))) continue;
    std::lock_guard lock(mutex_);
    ++changes_;
    if (settings)
      known_.erase(entry.actor().tenant());
    else
      known_.clear();  // others may have been under it
  }
}

void TermsInForce::read(const std::string& tenant, std::function<void(Result<Current>)> done) {
  node_.constitutions->in_force(*node_.host, tenant, [this, tenant, done](auto found) {
    if (!found) return done(tl::unexpected(found.error()));
    Current now;
    if (*found) now.constitution = actors::in_force(*(*found)->constitution);
    node_.host->read(actors::tenant_key(tenant),
                     [this, tenant, done, now = std::move(now)](Result<StateView> view) mutable {
                       if (!view) return done(tl::unexpected(view.error()));
                       now.settings = settings_for(node_, *view);
                       node_.rulebook->in_force(
                           *node_.host, tenant,
                           [done, now = std::move(now)](Result<Rulebook::InForce> rules) mutable {
                             if (!rules) return done(tl::unexpected(rules.error()));
                             now.rules = std::move(*rules);
                             done(std::move(now));
                           });
                     });
  });
}

void TermsInForce::current(const std::string& tenant, std::function<void(Result<Known>)> done) {
  std::uint64_t before = 0;
  if (node_.host->observes_all()) {
    Known known;
    {
      std::lock_guard lock(mutex_);
      before = changes_;
      if (const auto it = known_.find(tenant); it != known_.end()) known = it->second;
    }
    if (known) return done(std::move(known));
  }
  read(tenant, [this, tenant, before, done = std::move(done)](Result<Current> now) {
    if (!now) return done(tl::unexpected(now.error()));
    auto known = std::make_shared<const Current>(std::move(*now));
    if (node_.host->observes_all()) {
      std::lock_guard lock(mutex_);
      // A change that came meanwhile may be newer than what was read.
      if (changes_ == before) remember(tenant, known);
    }
    done(Known(std::move(known)));
  });
}

void TermsInForce::remember(const std::string& tenant, Known known) {
  if (known_.size() >= kMaxRemembered && !known_.contains(tenant)) {
    const auto next =
        known_.upper_bound(tenant);  // whichever: it is read again when it is asked for
    known_.erase(next == known_.end() ? known_.begin() : next);
  }
  known_[tenant] = std::move(known);
}

void TermsInForce::judge(const std::string& tenant, const v1::CallTerms& allowed, const Known& now,
                         const Done& done) {
  security::Identity who;
  who.principal = allowed.asker();
  who.principal.set_tenant(tenant);
  node_.admission->check(*node_.host, who, [this, who, allowed, now, done](Status in) mutable {
    if (!in && in.error().code != Code::kUnauthenticated) return done(tl::unexpected(in.error()));
    std::string out;
    if (!in) out = "who asked is not admitted any more";
    node_.admission->narrow(who);
    if (out.empty() && security::may(allowed.asker(), allowed.capability()) &&
        !security::may(who.principal, allowed.capability()))
      out = "who asked may not do this any more: it needs " + allowed.capability();
    const bool halted = node_.kill_switch->active();
    const bool same =
        allowed.constitution_hash() == now->constitution.hash() &&
        allowed.rules_hash() == (now->rules.rules ? now->rules.rules->hash() : std::string()) &&
        allowed.settings_version() == now->settings.version() &&
        allowed.mode() ==
            actors::judged_mode(now->settings.deployment_mode(), allowed.mode_wished()) &&
        same_capabilities(who.principal, allowed.asker());
    if (same && out.empty() && !halted) return done(std::optional<v1::StartTerms>());
    v1::StartTerms terms;
    *terms.mutable_settings() = now->settings;
    *terms.mutable_constitution() = now->constitution;
    *terms.mutable_rules() =
        allowed.tools() ? all_rules(now->rules) : rules_for(now->rules, allowed.action());
    terms.set_halted(halted);
    *terms.mutable_asker() = who.principal;
    terms.set_asker_out(out);
    done(std::optional<v1::StartTerms>(std::move(terms)));
  });
}

void TermsInForce::look(const std::string& tenant, const v1::CallTerms& allowed, Done done) {
  guards_.when_loaded([this, tenant, allowed, done = std::move(done)] {
    current(tenant, [this, tenant, allowed, done](Result<Known> now) {
      if (!now) return done(tl::unexpected(now.error()));
      judge(tenant, allowed, *now, done);
    });
  });
}

}  // namespace soma::runtime::api
