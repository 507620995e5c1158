// Read once per tenant, then followed.
#include "runtime/api/admission.h"

#include "actors/identity/identity.h"

namespace soma::runtime::api {

namespace {

Status refused(const char* detail) { return fail(Code::kUnauthenticated, detail); }

// What both lists allow: of two that overlap, the narrower.
std::set<std::string> common(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::set<std::string> out;
  for (const auto& x : a)
    for (const auto& y : b) {
      if (security::capability_matches(y, x)) out.insert(x);
      if (security::capability_matches(x, y)) out.insert(y);
    }
  return out;
}

}  // namespace

void Admission::Facts::apply(const v1::IdentityEvent& event) {
  if (event.has_token_revoked()) revoked.insert(event.token_revoked().token().token_id());
  if (event.has_user_changed()) learn(event.user_changed().user());
  if (event.has_service_changed()) learn(event.service_changed().service());
}

void Admission::Facts::learn(const v1::Service& service) {
  const std::string subject = std::string(actors::kServicePrefix) + service.service_id();
  if (service.active())
    services.insert(subject);
  else
    services.erase(subject);
  allowed[subject] = {service.capabilities().begin(), service.capabilities().end()};
}

bool Admission::Facts::keeps_out(const security::Identity& who) const {
  const std::string& subject = who.principal.subject();
  return revoked.contains(who.token_id) || inactive.contains(subject) ||
         (actors::is_service(subject) && !services.contains(subject));
}

void Admission::Facts::learn(const v1::User& user) {
  if (user.active())
    inactive.erase(user.user_id());
  else
    inactive.insert(user.user_id());
  // Without a list nothing is said of what tokens may; `active: false` takes all.
  if (user.capabilities().empty())
    allowed.erase(user.user_id());
  else
    allowed[user.user_id()] = {user.capabilities().begin(), user.capabilities().end()};
}

void Admission::narrow(security::Identity& who) const {
  std::vector<std::string> allowed;
  {
    std::lock_guard lock(mutex_);
    const auto tenant = facts_.find(who.principal.tenant());
    if (tenant == facts_.end() || tenant->second.loading) return;
    const auto user = tenant->second.allowed.find(who.principal.subject());
    if (user == tenant->second.allowed.end()) return;
    allowed = user->second;
  }
  const auto left =
      common({who.principal.capabilities().begin(), who.principal.capabilities().end()}, allowed);
  who.principal.mutable_capabilities()->Assign(left.begin(), left.end());
}

bool Admission::old(const Facts& facts) const {
  return facts.ages && std::chrono::steady_clock::now() - facts.read_at >= max_age_;
}

std::optional<Status> Admission::known(const security::Identity& who) const {
  {
    std::lock_guard lock(mutex_);
    const auto it = facts_.find(who.principal.tenant());
    if (it == facts_.end() || it->second.loading) return std::nullopt;
    if (old(it->second)) return std::nullopt;
    if (it->second.keeps_out(who)) return refused("Invalid token");
  }
  if (who.constitution_hash.empty()) return Status{};
  const auto now = constitutions_.hash_now(who.principal.tenant());
  if (!now) return std::nullopt;
  return *now == who.constitution_hash ? Status{} : refused("Constitution hash mismatch");
}

void Admission::check(Host& host, const security::Identity& who, std::function<void(Status)> done) {
  if (auto now = known(who)) return done(std::move(*now));
  load(host, who.principal.tenant(), [this, &host, who, done = std::move(done)](Status loaded) {
    if (!loaded) return done(std::move(loaded));
    constitutions_.in_force(host, who.principal.tenant(), [this, who, done](auto found) {
      if (!found) return done(tl::unexpected(found.error()));
      const std::string hash = *found ? (*found)->constitution->hash() : std::string();
      std::unique_lock lock(mutex_);
      const auto it = facts_.find(who.principal.tenant());
      const bool gone = it == facts_.end() || it->second.loading;
      const bool out = !gone && it->second.keeps_out(who);
      lock.unlock();
      // Forgotten in between, for want of room: the next request reads it again.
      if (gone) return done(fail(Code::kUnavailable, "the caller could not be checked; try again"));
      if (out) return done(refused("Invalid token"));
      if (!who.constitution_hash.empty() && who.constitution_hash != hash)
        return done(refused("Constitution hash mismatch"));
      done({});
    });
  });
}

void Admission::load(Host& host, const std::string& tenant, std::function<void(Status)> done) {
  {
    std::lock_guard lock(mutex_);
    if (facts_.size() >= kMaxRemembered && !facts_.contains(tenant)) facts_.erase(facts_.begin());
    auto& facts = facts_[tenant];
    if (!facts.loading && old(facts)) facts = Facts{};
  }
  host.read(actors::identity_key(tenant),
            [this, &host, tenant, done = std::move(done)](Result<StateView> view) {
              if (!view) return done(tl::unexpected(view.error()));
              take(tenant, *view, !host.observes_all());
              done({});
            });
}

void Admission::take(const std::string& tenant, const StateView& view, bool ages) {
  const auto& state = static_cast<const v1::IdentityState&>(*view.state);
  std::lock_guard lock(mutex_);
  auto it = facts_.find(tenant);
  if (it == facts_.end() || !it->second.loading) return;
  Facts fresh;
  fresh.loading = false;
  fresh.ages = ages;
  fresh.read_at = std::chrono::steady_clock::now();
  for (const auto& [id, token] : state.revoked()) fresh.revoked.insert(id);
  for (const auto& [id, user] : state.users()) fresh.learn(user);
  for (const auto& [id, service] : state.services()) fresh.learn(service);
  for (const auto& [sequence, event] : it->second.meanwhile)
    if (sequence > view.sequence.value) fresh.apply(event);
  it->second = std::move(fresh);
}

void Admission::follow(const events::ValidFrame& valid) {
  for (const auto& entry : valid.frame->entries()) {
    if (entry.actor().type() != actors::IdentityDecider::kName) continue;
    for (const auto& recorded : entry.events()) {
      v1::IdentityEvent event;
      if (!event.ParseFromString(recorded.payload())) continue;
      std::lock_guard lock(mutex_);
      const auto it = facts_.find(entry.actor().tenant());
      if (it == facts_.end()) continue;  // it will be read
      if (it->second.loading)
        it->second.meanwhile.emplace_back(recorded.sequence(), std::move(event));
      else
        it->second.apply(event);
    }
  }
}

}  // namespace soma::runtime::api
