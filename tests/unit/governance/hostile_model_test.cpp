// S11: a model that always obeys an attacker asks for tools, one call after another; what is
// executed stays within what was granted, whatever it asks for, in whatever order, and whatever it
// repeats.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "actors/approvals/approvals.h"
#include "actors/decision/decision.h"
#include "actors/policy/judge.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

const char* const kRules =
    "@id(\"granted\") forbid(principal, action, resource)\n"
    "unless { principal.capabilities.contains(context.capability) };\n"
    "@id(\"no-shell\") forbid(principal, action == Action::\"shell\", resource);\n"
    "@id(\"irreversible\") @effect(\"review\")\n"
    "forbid(principal, action in [Action::\"pay\", Action::\"delete\"], resource);\n"
    "@id(\"dear\") forbid(principal, action, resource)\n"
    "when { context has budget_remaining && context.budget_required > context.budget_remaining "
    "};\n";

struct Call {
  v1::PolicyInput input;
  std::string arguments;
  std::string hash() const { return sha256_hex(deterministic_bytes(input) + "\n" + arguments); }
};

// What one session may do, written down a second time and independently of the decider.
bool within_grants(const Call& c, const std::set<std::string>& granted, double remaining,
                   const std::set<std::string>& approved_hashes) {
  const auto& in = c.input;
  static const std::set<std::string> prohibited = {"nuke"}, permitted = {"web", "files", "money"};
  if (prohibited.count(in.action_id()) || prohibited.count(in.capability())) return false;
  if (in.action_id() == "shell") return false;
  if (!in.tool_category().empty() && !permitted.count(in.tool_category())) return false;
  if (!granted.count(in.capability())) return false;
  if (in.risk_score() > 0.8) return false;
  if (in.budget_required() > remaining) return false;
  const bool person = in.action_id() == "pay" || in.action_id() == "delete" ||
                      in.risk_score() > 0.5 || in.requires_human();
  return !person || approved_hashes.count(c.hash()) > 0;
}

class Session {
 public:
  Session(std::mt19937_64& random, int number)
      : random_(random), number_(number), approvals_(approvals_key("acme")) {
    for (const char* c : kCapabilities)
      if (random_() % 2) granted_.insert(c);
    rules_.set_number(1);
    rules_.set_hash(sha256_hex(kRules));
    rules_.set_text(kRules);
    constitution_.set_hash("c");
    auto* r = constitution_.mutable_rules();
    r->add_prohibited_actions("nuke");
    r->set_maximum_risk(0.8);
    r->set_human_approval_above_risk(0.5);
    r->set_limits_tool_categories(true);
    for (const char* c : {"web", "files", "money"}) r->add_permitted_tool_categories(c);
  }

  // One attempt: a new call, one asked for before, or one that was approved and then changed.
  void attempt() {
    Call call = invent();
    if (!seen_.empty() && random_() % 3 == 0) call = seen_[random_() % seen_.size()];
    if (!seen_.empty() && random_() % 4 == 0)
      call.arguments = "edited " + std::to_string(random_() % 3);
    seen_.push_back(call);
    call.input.set_has_budget_remaining(true);  // the system's figures, not the model's
    call.input.set_budget_remaining(0);
    const std::string hash = call.hash();
    call.input.set_budget_remaining(remaining_);
    const auto decision = decide(call.input);
    ++calls_;
    Call bound = call;
    bound.input.set_budget_remaining(0);
    if (decision.needs_approval()) {
      if (!approved_by_a_person(hash)) return;
    } else if (!decision.allow()) {
      return;
    }
    ++executed_;
    if (!within_grants(bound, granted_, remaining_, approved_)) ++violations_;
    remaining_ -= call.input.budget_required();
    if (remaining_ < 0) ++violations_;
  }

  int calls() const { return calls_; }
  int executed() const { return executed_; }
  int violations() const { return violations_; }

 private:
  static constexpr const char* kCapabilities[] = {"tool:web", "tool:files", "tool:money", "nuke"};

  Call invent() {
    static const char* const actions[] = {"fetch",       "shell", "pay",   "delete", "nuke",
                                          "read",        "",      "Shell", "shell ", "pay\n",
                                          "session.turn"};
    static const char* const categories[] = {"web", "files", "money", "system", "", "Web"};
    static const char* const modes[] = {"", "developer-light", "production", "nonsense"};
    Call c;
    c.input.set_action_id(actions[random_() % std::size(actions)]);
    c.input.set_capability(random_() % 8 ? kCapabilities[random_() % 4] : "*");
    c.input.set_tool_category(categories[random_() % std::size(categories)]);
    c.input.set_risk_score(static_cast<double>(random_() % 101) / 100);
    c.input.set_confidence(random_() % 3 ? 1 : static_cast<double>(random_() % 101) / 100);
    c.input.set_budget_required(static_cast<double>(random_() % 40));
    c.input.set_requires_human(random_() % 10 == 0);
    c.input.set_deployment_mode(modes[random_() % std::size(modes)]);
    c.arguments = "args " + std::to_string(random_() % 3);
    return c;
  }

  v1::PolicyDecision decide(const v1::PolicyInput& input) {
    v1::DecisionCommand command;
    auto* d = command.mutable_decide_policy();
    *d->mutable_input() = input;
    d->set_mode("test");
    *d->mutable_constitution() = constitution_;
    *d->mutable_rules() = rules_;
    v1::Context context;
    context.set_now_ms(1000);
    context.mutable_principal()->set_subject("agent");
    context.mutable_principal()->set_tenant("acme");
    for (const auto& c : granted_) context.mutable_principal()->add_capabilities(c);
    const auto key =
        decision_key("acme", "dec_" + std::to_string(number_) + "_" + std::to_string(calls_));
    auto decided = DecisionDecider::decide(key, {}, command, context);
    return decided ? decided->reply.decision() : v1::PolicyDecision();  // refused: not allowed
  }

  // The attacker asks for approval, tries to give it as itself, and a person agrees to some.
  bool approved_by_a_person(const std::string& hash) {
    const auto known = approval_of_.find(hash);
    const std::string id =
        known == approval_of_.end() ? "apr_" + std::to_string(approval_of_.size()) : known->second;
    if (known == approval_of_.end()) {
      approval_of_[hash] = id;
      v1::ApprovalsCommand ask;
      auto* a = ask.mutable_request_approval()->mutable_approval();
      a->set_approval_id(id);
      a->set_action("tool");
      a->set_action_hash(hash);
      a->set_requested_by("agent");
      a->set_expires_ms(100'000);
      a->mutable_requester()->set_type("session");
      give(ask, "agent");
      v1::ApprovalsCommand self;
      self.mutable_decide_approval()->set_approval_id(id);
      self.mutable_decide_approval()->set_approve(true);
      if (give(self, "agent")) ++violations_;
      if (random_() % 3 == 0 && give(self, "ana")) approved_.insert(hash);
    }
    const auto it = approvals_state_.approvals().find(id);
    return it != approvals_state_.approvals().end() && it->second.status() == v1::APPROVED &&
           it->second.action_hash() == hash;
  }

  bool give(const v1::ApprovalsCommand& command, const std::string& by) {
    v1::Context context;
    context.set_now_ms(2000);
    context.mutable_principal()->set_subject(by);
    auto d = ApprovalsDecider::decide(approvals_, approvals_state_, command, context);
    if (!d) return false;
    for (const auto& e : d->events) ApprovalsDecider::evolve(approvals_state_, e);
    return true;
  }

  std::mt19937_64& random_;
  const int number_;
  const ActorKey approvals_;
  v1::ApprovalsState approvals_state_;
  v1::RulesInForce rules_;
  v1::ConstitutionInForce constitution_;
  std::set<std::string> granted_, approved_;
  std::map<std::string, std::string> approval_of_;
  std::vector<Call> seen_;
  double remaining_ = 100;
  int calls_ = 0, executed_ = 0, violations_ = 0;
};

// SOMA_S11_SEQUENCES=1000000 runs the gate.
TEST(S11, EffectsStayWithinGrants) {
  const char* wanted = std::getenv("SOMA_S11_SEQUENCES");
  const int sequences = wanted ? std::atoi(wanted) : 1500;
  std::mt19937_64 random(20261126);
  std::int64_t calls = 0, executed = 0, violations = 0;
  for (int n = 0; n < sequences; ++n) {
    Session session(random, n);
    for (int i = 0, length = 4 + static_cast<int>(random() % 12); i < length; ++i)
      session.attempt();
    calls += session.calls();
    executed += session.executed();
    violations += session.violations();
  }
  EXPECT_EQ(violations, 0);
  EXPECT_GT(executed, sequences / 4);  // or the test would show nothing
  std::printf("S11: %d sequences, %lld calls, %lld executed, %lld violations\n", sequences,
              static_cast<long long>(calls), static_cast<long long>(executed),
              static_cast<long long>(violations));
  if (sequences >= 1'000'000)
    std::printf("GATE S11 %lld violations 0 %s\n", static_cast<long long>(violations),
                violations == 0 ? "PASS" : "FAIL");
}

}  // namespace
}  // namespace soma::actors
