// Constitutions that change while sessions run: each turn is bound to a version that was in force,
// as a node reads it; versions go forward one by one, and a second key is never left out.
#include <map>
#include <set>
#include <vector>

#include "actors/approvals/approvals.h"
#include "actors/constitution/constitution.h"
#include "runtime/sim/workloads/governed.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::sim {

namespace {

constexpr std::uint64_t kTenants = 2;

class Constitutions final : public Workload {
 public:
  std::string_view name() const override { return "constitutions"; }

  Op next(Rng& rng, Ground&) override {
    const std::string tenant = "state-" + std::to_string(rng.below(kTenants));
    const std::uint64_t what = rng.below(100);
    if (what < 25) return load(rng, tenant);
    if (what < 45 && !proposed_[tenant].empty()) return vote(rng, tenant);
    return start(rng, tenant);
  }

  // What still waits for a second key is rejected, so that its timer ends.
  std::optional<Op> closing(const Oracle& oracle) override {
    for (std::uint64_t n = 0; n < kTenants; ++n) {
      const std::string tenant = "state-" + std::to_string(n);
      const auto* folded = oracle.journal().find(actors::approvals_key(tenant));
      if (!folded) continue;
      std::set<std::string> ids;
      for (const auto& [id, a] : static_cast<const v1::ApprovalsState&>(*folded->state).approvals())
        if (a.status() == v1::PENDING && closed_.may(id)) ids.insert(id);
      if (ids.empty()) continue;
      closed_.give(*ids.begin());
      return decide(tenant, *ids.begin(), false, "zoe");
    }
    closed_.look();
    return std::nullopt;
  }

  void frame(const events::ValidFrame& valid, Oracle& oracle) override {
    each_event<v1::ConstitutionEvent>(
        valid, "constitution",
        [&](const v1::Entry&, const ActorKey& key, const v1::ConstitutionEvent& e) {
          if (e.has_proposed()) proposed_[key.tenant] = e.proposed().approval_id();
          if (e.has_updated()) updated(key.tenant, e.updated(), valid.position, oracle);
        });
    each_event<v1::SessionEvent>(
        valid, "session", [&](const v1::Entry&, const ActorKey& key, const v1::SessionEvent& e) {
          if (!e.has_turn_started() || !key.tenant.starts_with("state-")) return;
          const auto& bound = e.turn_started().constitution();
          const auto& known = in_force_[key.tenant];
          const auto it = known.find(bound.number());
          if (it == known.end() || it->second != bound.hash())
            oracle.complain("L4", valid.position,
                            to_string(key) + " runs under constitution " +
                                std::to_string(bound.number()) + ", which was never in force");
        });
  }

  void finish(Oracle&, const Outside&) override {}

 private:
  Op load(Rng& rng, const std::string& tenant) {
    v1::ConstitutionCommand c;
    auto* made = c.mutable_load_constitution()->mutable_constitution();
    made->set_version("v" + std::to_string(++made_));
    made->set_issued_ms(static_cast<std::int64_t>(made_));
    made->set_document("{\"n\":" + std::to_string(made_) + "}");
    made->set_hash(sha256_hex(made->document()));
    made->set_signature("simulated");
    const bool two = rng.chance(500'000);
    c.mutable_load_constitution()->set_two_keys(two);
    if (two) two_keys_.insert(made->hash());
    return make_op(actors::constitution_key(tenant), c, "ana");
  }

  Op vote(Rng& rng, const std::string& tenant) {
    return decide(tenant, proposed_[tenant], rng.chance(700'000),
                  rng.chance(200'000) ? "ana" : "bob");
  }

  static Op decide(const std::string& tenant, const std::string& id, bool approve,
                   const std::string& who) {
    v1::ApprovalsCommand c;
    c.mutable_decide_approval()->set_approval_id(id);
    c.mutable_decide_approval()->set_approve(approve);
    return make_op(actors::approvals_key(tenant), c, who);
  }

  // As the routes do it: what is in force is read first, and goes with the command.
  Op start(Rng& rng, const std::string& tenant) {
    v1::SessionCommand c;
    auto* s = c.mutable_start_session();
    s->set_user("ana");
    s->set_prompt("act " + std::to_string(rng.below(1000)));
    *s->mutable_settings() = tenant_settings(1);
    *s->mutable_policy() = policy_input();
    Op op = make_op({tenant, "session", "s-" + std::to_string(++sessions_), {}}, c, "ana");
    op.reads = actors::constitution_key(tenant);
    op.with_read = [c](const actors::Message& state) -> std::optional<std::string> {
      const auto& law = static_cast<const v1::ConstitutionState&>(state);
      if (!law.has_active()) return std::nullopt;  // sessions are refused without one
      v1::SessionCommand bound = c;
      *bound.mutable_start_session()->mutable_constitution() = actors::in_force(law.active());
      return actors::deterministic_bytes(bound);
    };
    return op;
  }

  void updated(const std::string& tenant, const v1::ConstitutionUpdated& u, Position at,
               Oracle& oracle) {
    const auto& c = u.constitution();
    auto& known = in_force_[tenant];
    if (c.number() != known.size() + 1)
      oracle.complain("L4", at,
                      tenant + ": version " + std::to_string(c.number()) + " follows version " +
                          std::to_string(known.size()));
    known[c.number()] = c.hash();
    if (two_keys_.contains(c.hash()) &&
        (u.approved_by().empty() || u.approved_by() == c.loaded_by()))
      oracle.complain("L4", at, tenant + ": " + c.version() + " came into force by one key");
  }

  std::uint64_t made_ = 0, sessions_ = 0;
  std::set<std::string> two_keys_;
  Endings closed_;
  std::map<std::string, std::string> proposed_;                           // approval, by tenant
  std::map<std::string, std::map<std::uint64_t, std::string>> in_force_;  // hash by number
};

}  // namespace

std::unique_ptr<Workload> make_constitutions() { return std::make_unique<Constitutions>(); }

}  // namespace soma::sim
