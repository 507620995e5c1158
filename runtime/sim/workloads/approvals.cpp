// Turns that wait for a second key: what was approved runs once, what was not approved never,
// nothing starts that is not allowed any more, and nobody is the second key of an own action or of
// one that was delegated to another.
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
constexpr const char* kAction = "simulated";  // policy_input's

class Approvals final : public Workload {
 public:
  std::string_view name() const override { return "approvals"; }

  Op next(Rng& rng, Ground&) override {
    const std::uint64_t what = rng.below(100);
    if (what < 4) return fund_op(tenant_name(rng.below(kTenants)));
    if (what < 45 || pending_.empty()) return start(rng);
    if (what < 52) return cancel_op(rng.pick(sessions_), kRequester);
    const auto& [tenant, id] = rng.pick(pending_);
    if (what < 58) return delegate(rng, tenant, id);
    // At times by the requester, at times twice, at times by two who disagree, at times under terms
    // that refuse it by now.
    static const char* const people[] = {"bob", "bob", "dan", kRequester};
    return decide(tenant, id, rng.chance(600'000), people[rng.below(4)], rng.below(5));
  }

  // A person who ends the waiting when the world comes to its end.
  std::optional<Op> closing(const Oracle& oracle) override {
    for (std::uint64_t n = 0; n < kTenants; ++n) {
      const auto* folded = oracle.journal().find(actors::approvals_key(tenant_name(n)));
      if (!folded) continue;
      std::map<std::string, std::string> ids;  // who may; whatever the state's order
      for (const auto& [id, a] : static_cast<const v1::ApprovalsState&>(*folded->state).approvals())
        if (const std::string who = a.delegated_to().empty() ? "carl" : a.delegated_to();
            a.status() == v1::PENDING && closed_.may(id + who + std::to_string(reopened_[id])))
          ids[id] = who;
      if (ids.empty()) continue;
      const auto& [id, who] = *ids.begin();
      closed_.give(id + who + std::to_string(reopened_[id]));
      return decide(tenant_name(n), id, true, who, kAllowed);
    }
    closed_.look();
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
          } else if (e.has_delegated()) {
            delegates_[e.delegated().approval_id()] = e.delegated().to();
          } else if (e.has_reopened()) {
            ++reopened_[e.reopened().approval_id()];
            decisions_.erase(e.reopened().approval_id());
          } else if (e.has_decided()) {
            decided(e.decided(), valid.position, oracle);
          }
        });
    each_event<v1::SessionEvent>(
        valid, "session",
        [&](const v1::Entry& entry, const ActorKey& key, const v1::SessionEvent& e) {
          if (!key.tenant.starts_with("board-")) return;
          if (e.has_approval_granted())
            granted(entry, e.approval_granted(), valid.position, oracle);
          turned(key, e, valid.position, oracle);
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

  static constexpr std::uint64_t kAllowed = 4, kProhibited = 0, kHalted = 1;  // others allow too

  static Op decide(const std::string& tenant, const std::string& id, bool approve,
                   const std::string& who, std::uint64_t terms) {
    v1::ApprovalsCommand c;
    auto* d = c.mutable_decide_approval();
    d->set_approval_id(id);
    d->set_approve(approve);
    if (approve) {
      *d->mutable_terms()->mutable_settings() = tenant_settings(1);
      d->mutable_terms()->mutable_constitution()->set_hash(kConstitution);
      if (terms == kProhibited)
        d->mutable_terms()->mutable_constitution()->mutable_rules()->add_prohibited_actions(
            kAction);
      d->mutable_terms()->set_halted(terms == kHalted);
    }
    return make_op(actors::approvals_key(tenant), c, who);
  }

  // By who may and by who may not, to who may and to who may not.
  static Op delegate(Rng& rng, const std::string& tenant, const std::string& id) {
    static const char* const people[] = {"bob", "dan", kRequester};
    v1::ApprovalsCommand c;
    c.mutable_delegate_approval()->set_approval_id(id);
    c.mutable_delegate_approval()->set_to(people[rng.below(3)]);
    return make_op(actors::approvals_key(tenant), c, people[rng.below(3)]);
  }

  // What the client told of constitution and switch, as it stands in the session's own command.
  static void granted(const v1::Entry& entry, const v1::TurnApproved& e, Position at,
                      Oracle& oracle) {
    v1::SessionCommand told;
    const bool read = told.ParseFromString(entry.command());
    const auto& terms = told.approval_decided().terms();
    const bool prohibited = terms.constitution().rules().prohibited_actions_size() > 0;
    if (!read || terms.halted() || prohibited || terms.constitution().hash().empty())
      oracle.complain("L3", at, e.approval_id() + " starts though it is not allowed any more");
  }

  void decided(const v1::ApprovalDecided& d, Position at, Oracle& oracle) {
    const auto it = asked_.find(d.approval_id());
    if (it == asked_.end())
      return oracle.complain("L3", at, d.approval_id() + " was decided, and never asked for");
    if (!decisions_.emplace(d.approval_id(), d.status()).second)
      oracle.complain("L3", at, d.approval_id() + " was decided twice");
    if (d.decided_by() == it->second.requested_by())
      oracle.complain("L3", at, d.decided_by() + " was the second key of an own action");
    const auto delegate = delegates_.find(d.approval_id());
    if (d.status() != v1::EXPIRED && delegate != delegates_.end() &&
        delegate->second != d.decided_by())
      oracle.complain("L3", at,
                      d.decided_by() + " decided " + d.approval_id() + ", which was delegated to " +
                          delegate->second);
  }

  // The model's call of a turn was not sent, and so the action did not run; or the turn waits
  // again, and so its grant is over.
  void taken_back(const ActorKey& key, std::uint32_t turn, std::map<std::string, int>& counted) {
    const auto it = waiting_.find({key, turn});
    if (it != waiting_.end()) counted.erase(it->second);
  }

  void turned(const ActorKey& key, const v1::SessionEvent& e, Position at, Oracle& oracle) {
    if (e.has_session_cancelled()) cancelled_.insert(key);
    if (e.has_approval_requested())
      waiting_[{key, e.approval_requested().turn()}] = e.approval_requested().approval_id();
    if (e.has_approval_granted() && ++grants_[e.approval_granted().approval_id()] > 1)
      oracle.complain("L3", at, e.approval_granted().approval_id() + " is granted twice");
    if (e.has_turn_judged_again()) taken_back(key, e.turn_judged_again().turn(), runs_);
    if (e.has_turn_reopened()) {
      taken_back(key, e.turn_reopened().turn(), runs_);
      taken_back(key, e.turn_reopened().turn(), grants_);
    }
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
  Endings closed_;
  std::map<std::string, int> reopened_;           // by approval
  std::map<std::string, std::string> delegates_;  // by approval
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
