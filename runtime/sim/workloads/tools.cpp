// Turns whose model asks for tools, right and wrong ones: each call is decided by itself; what was
// denied or not approved is never handed out, and what was handed out is answered once.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "actors/approvals/approvals.h"
#include "actors/tenant/tenant.h"
#include "runtime/sim/workloads/governed.h"
#include "soma/v1/approval.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::sim {

namespace {

constexpr std::uint64_t kTenants = 2;
constexpr const char* kConstitution = "simulated";
constexpr const char* kRequester = "ana";
// One by the constitution; of the other a person approves each call.
constexpr const char* kForbidden = "nuke";
constexpr const char* kGuarded = "pay";

class Tools final : public Workload {
 public:
  std::string_view name() const override { return "tools"; }

  Op next(Rng& rng, Ground&) override {
    const std::uint64_t what = rng.below(100);
    if (what < 4) return fund_op(tenant_name(rng.below(kTenants)));
    if (what < 50 || calls_.empty()) return start(rng);
    if (what < 54) return cancel_op(rng.pick(sessions_), kRequester);
    if (what < 70 && !parked_.empty()) {
      const auto& [tenant, id] = rng.pick(parked_);
      return decide(tenant, id, rng.chance(700'000), rng.chance(200'000) ? kRequester : "bob",
                    rng.chance(200'000));
    }
    return result(rng);
  }

  // A person who ends the waiting when the world comes to its end; results end by their timer.
  std::optional<Op> closing(const Oracle& oracle) override {
    for (std::uint64_t n = 0; n < kTenants; ++n) {
      const auto* folded = oracle.journal().find(actors::approvals_key(tenant_name(n)));
      if (!folded) continue;
      std::set<std::string> ids;  // whatever the map's order
      for (const auto& [id, a] : static_cast<const v1::ApprovalsState&>(*folded->state).approvals())
        if (a.status() == v1::PENDING && closed_.may(id + std::to_string(reopened_[id])))
          ids.insert(id);
      if (ids.empty()) continue;
      closed_.give(*ids.begin() + std::to_string(reopened_[*ids.begin()]));
      return decide(tenant_name(n), *ids.begin(), true, "carl", false);
    }
    closed_.look();
    return std::nullopt;
  }

  void frame(const events::ValidFrame& valid, Oracle& oracle) override {
    each_event<v1::ApprovalsEvent>(
        valid, "approvals",
        [&](const v1::Entry&, const ActorKey& key, const v1::ApprovalsEvent& e) {
          if (!key.tenant.starts_with("desk-")) return;
          if (e.has_requested())
            parked_.emplace_back(key.tenant, e.requested().approval().approval_id());
          if (e.has_reopened()) {
            ++reopened_[e.reopened().approval_id()];
            approved_.erase(e.reopened().approval_id());
          }
          if (e.has_decided() && e.decided().status() == v1::APPROVED &&
              e.decided().decided_by() != kRequester)
            approved_.insert(e.decided().approval_id());
        });
    each_event<v1::SessionEvent>(
        valid, "session",
        [&](const v1::Entry& entry, const ActorKey& key, const v1::SessionEvent& e) {
          if (key.tenant.starts_with("desk-")) called(entry, key, e, valid.position, oracle);
        });
  }

  void finish(Oracle& oracle, const Outside&) override {
    for (const auto& [key, actor] : oracle.journal().actors()) {
      if (key.type != "session" || !key.tenant.starts_with("desk-")) continue;
      const auto& s = static_cast<const v1::SessionState&>(*actor.state);
      if (s.status() == v1::WAITING_TOOLS || s.status() == v1::WAITING_APPROVAL)
        oracle.complain("L5", {}, to_string(key) + " waits for ever");
    }
  }

 private:
  static std::string tenant_name(std::uint64_t n) { return "desk-" + std::to_string(n); }

  Op start(Rng& rng) {
    v1::SessionCommand c;
    auto* s = c.mutable_start_session();
    s->set_user(kRequester);
    s->set_prompt("do " + std::to_string(rng.below(1000)));
    *s->mutable_settings() = tenant_settings(1);
    *s->mutable_policy() = policy_input();
    s->mutable_constitution()->set_hash(kConstitution);
    s->mutable_constitution()->mutable_rules()->add_prohibited_actions(kForbidden);
    (*s->mutable_metadata())["tool_seconds"] = "3";
    for (const char* name : {"look", kGuarded, kForbidden}) {
      auto* tool = s->mutable_tools()->add_tools();
      tool->mutable_tool()->set_name(name);
      tool->set_requires_human(std::string_view(name) == kGuarded);
    }
    sessions_.push_back(
        {tenant_name(rng.below(kTenants)), "session", "t-" + std::to_string(++made_), {}});
    return make_op(sessions_.back(), c, kRequester);
  }

  // Of calls that were handed out, and of others; at times another result for the same call.
  Op result(Rng& rng) {
    const auto& [key, id] = rng.pick(calls_);
    v1::SessionCommand c;
    c.mutable_submit_tool_result()->set_call_id(id);
    c.mutable_submit_tool_result()->set_output("seen " + std::to_string(rng.below(3)));
    return make_op(key, c, kRequester);
  }

  static Op decide(const std::string& tenant, const std::string& id, bool approve,
                   const std::string& who, bool forbidden_by_now) {
    v1::ApprovalsCommand c;
    auto* d = c.mutable_decide_approval();
    d->set_approval_id(id);
    d->set_approve(approve);
    if (approve) {
      *d->mutable_terms()->mutable_settings() = tenant_settings(1);
      auto* constitution = d->mutable_terms()->mutable_constitution();
      constitution->set_hash(kConstitution);
      constitution->mutable_rules()->add_prohibited_actions(kForbidden);
      if (forbidden_by_now) constitution->mutable_rules()->add_prohibited_actions(kGuarded);
    }
    return make_op(actors::approvals_key(tenant), c, who);
  }

  void called(const v1::Entry& entry, const ActorKey& key, const v1::SessionEvent& e, Position at,
              Oracle& oracle) {
    if (e.has_policy_decided() && !e.policy_decided().tool_call_id().empty())
      decided_[e.policy_decided().tool_call_id()] = e.policy_decided().decision();
    if (e.has_tool_call_denied()) calls_.emplace_back(key, e.tool_call_denied().call().call_id());
    if (e.has_tool_approval_requested())
      calls_.emplace_back(key, e.tool_approval_requested().call().call_id());
    if (e.has_tool_call_requested())
      handed_out(entry, key, e.tool_call_requested().call(), at, oracle);
    if (!e.has_tool_call_answered()) return;
    const std::string& id = e.tool_call_answered().call_id();
    if (!out_.contains(id)) oracle.complain("L5", at, id + " is answered, and was not handed out");
    if (!answered_.insert(id).second) oracle.complain("L5", at, id + " is answered twice");
  }

  void handed_out(const v1::Entry& entry, const ActorKey& key, const v1::ToolCall& call,
                  Position at, Oracle& oracle) {
    const std::string& id = call.call_id();
    calls_.emplace_back(key, id);
    if (!out_.insert(id).second) oracle.complain("L5", at, id + " is handed out twice");
    if (call.name() != "look" && call.name() != kGuarded)
      oracle.complain("L5", at, call.name() + " is handed out, which nobody may call");
    const auto decision = decided_.find(id);
    if (decision == decided_.end())
      oracle.complain("L5", at, id + " is handed out without a decision of its own");
    if (call.name() != kGuarded) return;
    if (!approved_.contains(call.approval_id()))
      oracle.complain("L5", at, id + " is handed out, and nobody approved it");
    v1::SessionCommand told;
    const bool read = told.ParseFromString(entry.command());
    const auto& no = told.approval_decided().terms().constitution().rules().prohibited_actions();
    if (!read || std::find(no.begin(), no.end(), kGuarded) != no.end())
      oracle.complain("L5", at, id + " is handed out, and not allowed any more");
  }

  std::uint64_t made_ = 0;
  std::vector<ActorKey> sessions_;
  std::vector<std::pair<ActorKey, std::string>> calls_;      // each that was decided
  std::vector<std::pair<std::string, std::string>> parked_;  // tenant and approval
  Endings closed_;
  std::map<std::string, int> reopened_;  // by approval
  std::set<std::string> approved_, out_, answered_;
  std::map<std::string, v1::PolicyDecision> decided_;  // by call
};

}  // namespace

std::unique_ptr<Workload> make_tools() { return std::make_unique<Tools>(); }

}  // namespace soma::sim
