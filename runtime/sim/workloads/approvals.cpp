// Turns that wait for a second key: what was approved runs once, what was not approved never, and
// nobody is the second key of an own action.
#include "actors/approvals/approvals.h"

#include <map>
#include <set>
#include <vector>

#include "actors/tenant/tenant.h"
#include "runtime/sim/workloads/governed.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::sim {

namespace {

constexpr std::uint64_t kTenants = 2;
constexpr const char* kConstitution = "simulated";
constexpr const char* kRequester = "ana";

class Approvals final : public Workload {
 public:
  std::string_view name() const override { return "approvals"; }

  Op next(Rng& rng, Ground&) override {
    const std::uint64_t what = rng.below(100);
    if (what < 4) return fund(rng);
    if (what < 45 || pending_.empty()) return start(rng);
    if (what < 52) return cancel(rng);
    const auto& [tenant, id] = rng.pick(pending_);
    // At times by the requester, at times twice, at times by two who disagree.
    return decide(tenant, id, rng.chance(600'000), rng.chance(250'000) ? kRequester : "bob");
  }

  // A person who ends the waiting when the world comes to its end.
  std::optional<Op> closing(const Oracle& oracle) override {
    for (std::uint64_t n = 0; n < kTenants; ++n) {
      const auto* folded = oracle.journal().find(actors::approvals_key(tenant_name(n)));
      if (!folded) continue;
      std::set<std::string> ids;  // whatever the map's order
      for (const auto& [id, a] : static_cast<const v1::ApprovalsState&>(*folded->state).approvals())
        if (a.status() == v1::PENDING && !closed_.contains(id)) ids.insert(id);
      if (ids.empty()) continue;
      closed_.insert(*ids.begin());
      return decide(tenant_name(n), *ids.begin(), true, "carl");
    }
    return std::nullopt;
  }

  void frame(const events::ValidFrame& valid, Oracle& oracle) override {
    each_event<v1::ApprovalsEvent>(
        valid, "approvals",
        [&](const v1::Entry&, const ActorKey& key, const v1::ApprovalsEvent& e) {
          if (e.has_requested()) {
            const auto& a = e.requested().approval();
            asked_[a.approval_id()] = a;
            if (key.tenant.starts_with("board-"))
              pending_.emplace_back(key.tenant, a.approval_id());
          } else if (e.has_decided()) {
            decided(e.decided(), valid.position, oracle);
          }
        });
    each_event<v1::SessionEvent>(
        valid, "session", [&](const v1::Entry&, const ActorKey& key, const v1::SessionEvent& e) {
          if (key.tenant.starts_with("board-")) turned(key, e, valid.position, oracle);
        });
  }

  void finish(Oracle& oracle, const Outside&) override {
    for (const auto& [id, status] : decisions_) {
      const auto& a = asked_[id];
      if (!a.requester().tenant().starts_with("board-") || a.requester().type() != "session")
        continue;
      const ActorKey key = actors::to_key(a.requester());
      if (status != v1::APPROVED || cancelled_.contains(key)) continue;
      if (grants_[id] != 1)
        oracle.complain(
            "L3", {},
            "of approval " + id + " the session heard " + std::to_string(grants_[id]) + " times");
      if (runs_[id] != 1 && !failed_.contains(id))  // a budget may be empty, a recall may fail
        oracle.complain("L3", {},
                        "approved action " + id + " ran " + std::to_string(runs_[id]) + " times");
    }
  }

 private:
  static std::string tenant_name(std::uint64_t n) { return "board-" + std::to_string(n); }

  static Op fund(Rng& rng) {
    v1::TenantCommand c;
    *c.mutable_put_settings()->mutable_settings() = tenant_settings(50'000'000);
    return make_op(actors::tenant_key(tenant_name(rng.below(kTenants))), c, "treasurer");
  }

  Op start(Rng& rng) {
    v1::SessionCommand c;
    auto* s = c.mutable_start_session();
    s->set_user(kRequester);
    s->set_prompt("may I " + std::to_string(rng.below(1000)));
    *s->mutable_settings() = tenant_settings(1);
    *s->mutable_policy() = policy_input();
    s->mutable_policy()->set_requires_human(rng.chance(800'000));
    s->mutable_constitution()->set_hash(kConstitution);
    sessions_.push_back(
        {tenant_name(rng.below(kTenants)), "session", "s-" + std::to_string(++made_), {}});
    return make_op(sessions_.back(), c, kRequester);
  }

  Op cancel(Rng& rng) {
    v1::SessionCommand c;
    c.mutable_cancel_session()->set_reason("simulated");
    return make_op(rng.pick(sessions_), c, kRequester);
  }

  static Op decide(const std::string& tenant, const std::string& id, bool approve,
                   const std::string& who) {
    v1::ApprovalsCommand c;
    c.mutable_decide_approval()->set_approval_id(id);
    c.mutable_decide_approval()->set_approve(approve);
    return make_op(actors::approvals_key(tenant), c, who);
  }

  void decided(const v1::ApprovalDecided& d, Position at, Oracle& oracle) {
    const auto it = asked_.find(d.approval_id());
    if (it == asked_.end())
      return oracle.complain("L3", at, d.approval_id() + " was decided, and never asked for");
    if (!decisions_.emplace(d.approval_id(), d.status()).second)
      oracle.complain("L3", at, d.approval_id() + " was decided twice");
    if (d.decided_by() == it->second.requested_by())
      oracle.complain("L3", at, d.decided_by() + " was the second key of an own action");
  }

  void turned(const ActorKey& key, const v1::SessionEvent& e, Position at, Oracle& oracle) {
    if (e.has_session_cancelled()) cancelled_.insert(key);
    if (e.has_approval_requested())
      waiting_[{key, e.approval_requested().turn()}] = e.approval_requested().approval_id();
    if (e.has_approval_granted() && ++grants_[e.approval_granted().approval_id()] > 1)
      oracle.complain("L3", at, e.approval_granted().approval_id() + " is granted twice");
    if (e.has_turn_failed()) {
      const auto failed = waiting_.find({key, e.turn_failed().turn()});
      if (failed != waiting_.end()) failed_.insert(failed->second);
    }
    if (!e.has_model_requested()) return;
    const auto it = waiting_.find({key, e.model_requested().turn()});
    if (it == waiting_.end()) return;  // nobody had to be asked
    const std::string& id = it->second;
    if (++runs_[id] > 1) oracle.complain("L3", at, "the action of " + id + " runs twice");
    // The register and the session lie in different partitions: what the session was told stands
    // before this, as it was sent with the decision.
    const auto told = decisions_.find(id);
    if (told == decisions_.end() || told->second != v1::APPROVED)
      oracle.complain("L3", at, "the action of " + id + " runs without approval");
  }

  std::uint64_t made_ = 0;
  std::vector<ActorKey> sessions_;
  std::vector<std::pair<std::string, std::string>> pending_;  // tenant and id, once requested
  std::set<std::string> closed_;
  std::map<std::string, v1::Approval> asked_;
  std::map<std::string, v1::ApprovalStatus> decisions_;
  std::map<std::pair<ActorKey, std::uint32_t>, std::string> waiting_;  // approval of a turn
  std::map<std::string, int> runs_, grants_;                           // by approval
  std::set<std::string> failed_;  // approvals whose turn failed
  std::set<ActorKey> cancelled_;
};

}  // namespace

std::unique_ptr<Workload> make_approvals() { return std::make_unique<Approvals>(); }

}  // namespace soma::sim
