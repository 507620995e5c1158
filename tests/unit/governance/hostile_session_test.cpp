// S11, the session itself: a hostile model asks for any tools in any order, results come for any
// call, approvals for any action; what a session hands out stays within what was granted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "actors/session/session.h"
#include "actors/session/tools.h"
#include "schemas/base/sha256.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

const char* const kToolRules =
    "@id(\"granted\") forbid(principal, action, resource)\n"
    "unless { principal.capabilities.contains(context.capability) };\n"
    "@id(\"no-shell\") forbid(principal, action == Action::\"shell\", resource);\n"
    "@id(\"ask\") @effect(\"review\") forbid(principal, action == Action::\"pay\", resource);\n";

struct Tool {
  const char* name;
  const char* category;
  double risk;
  bool person;
};
// All that are ever named; a turn names some. `format` never is.
constexpr Tool kTools[] = {{"fetch", "web", 0.1, false},   {"read", "files", 0.3, false},
                           {"pay", "money", 0.2, false},   {"shell", "web", 0.1, false},
                           {"nuke", "web", 0, false},      {"spy", "system", 0, false},
                           {"send", "web", 0.6, false},    {"burn", "web", 0.9, false},
                           {"delete", "files", 0.1, true}, {"list", "", 0, false}};

struct Arguments {
  std::string text;
  bool fine;
};
const std::vector<Arguments>& arguments() {
  static const std::vector<Arguments> all = {
      {"{}", true},
      {"", true},
      {"{\"a\": [1, 2, {\"b\": null}]}", true},
      {"[]", false},
      {"{", false},
      {"{} {}", false},
      {"null", false},
      {"{\"a\": \"" + std::string(kMaxArgumentBytes, 'a') + "\"}", false},
      {"rm -rf /", false}};
  return all;
}

class HostileSession {
 public:
  explicit HostileSession(std::mt19937_64& random) : random_(random) {
    context_.set_now_ms(1000);
    context_.mutable_principal()->set_tenant("acme");
    begin();
  }

  void step() {
    v1::SessionCommand c;
    switch (random_() % 10) {
      case 0:
      case 1:
      case 2:
        c = answer();
        break;
      case 3:
      case 4:
        c = result();
        break;
      case 5:
      case 6:
        c = approval();
        break;
      case 7:
        c = random_() % 4 ? paid() : lost();
        break;
      default:
        c = expected();
    }
    give(c);
  }

  int handed_out() const { return handed_out_; }
  int asked() const { return asked_; }
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void wrong(const std::string& what) { violations_.push_back(what); }

  void begin() {
    v1::SessionCommand c;
    auto* start = c.mutable_start_session();
    start->set_user("ana");
    start->set_prompt("do what you are told");
    start->mutable_settings()->set_deployment_mode("test");
    start->mutable_settings()->set_budgets_tokens(1'000'000'000);
    start->mutable_policy()->set_risk_score(0.1);
    start->mutable_policy()->set_confidence(1);
    start->mutable_constitution()->set_hash("c");
    auto* rules = start->mutable_constitution()->mutable_rules();
    rules->add_prohibited_actions("nuke");
    rules->set_maximum_risk(0.8);
    rules->set_human_approval_above_risk(0.5);
    rules->set_limits_tool_categories(true);
    for (const char* category : {"web", "files", "money"})
      rules->add_permitted_tool_categories(category);
    start->mutable_tools()->mutable_rules()->set_number(1);
    start->mutable_tools()->mutable_rules()->set_hash(sha256_hex(kToolRules));
    start->mutable_tools()->mutable_rules()->set_text(kToolRules);
    for (const auto& tool : kTools) {
      if (random_() % 5 == 0) continue;
      named_.insert(tool.name);
      if (random_() % 5) {
        granted_.insert(tool.name);
        context_.mutable_principal()->add_capabilities(std::string("tool:") + tool.name);
      }
      auto* t = start->mutable_tools()->add_tools();
      t->mutable_tool()->set_name(tool.name);
      t->set_category(tool.category);
      t->set_risk_score(tool.risk);
      t->set_requires_human(tool.person);
    }
    *terms_.mutable_settings() = start->settings();
    *terms_.mutable_constitution() = start->constitution();
    *terms_.mutable_rules() = start->tools().rules();
    context_.mutable_principal()->set_subject("ana");
    give(c);
    context_.mutable_principal()->set_subject("soma");  // nobody's request from here on
    context_.mutable_principal()->clear_capabilities();
  }

  // What a call may be, written down a second time.
  bool within_grants(const v1::ToolCall& call) {
    const Tool* tool = nullptr;
    for (const auto& t : kTools)
      if (call.name() == t.name) tool = &t;
    if (!tool || !named_.count(call.name()) || !granted_.count(call.name())) return false;
    if (call.name() == "nuke" || call.name() == "shell" || tool->risk > 0.8) return false;
    if (std::string(tool->category) == "system") return false;
    bool fine = false;
    for (const auto& a : arguments())
      fine = fine || (a.fine && (a.text.empty() ? "{}" : a.text) == call.arguments());
    const bool person = tool->person || tool->risk > 0.5 || call.name() == "pay";
    return fine && (!person || approved_.count(call.call_id()) > 0);
  }

  void watch(const v1::SessionEvent& e) {
    if (e.has_policy_decided() && !e.policy_decided().tool_call_id().empty())
      decided_[e.policy_decided().tool_call_id()] = e.policy_decided().decision();
    if (e.has_tool_approval_requested()) parked_.push_back(e.tool_approval_requested().call());
    if (e.has_tool_call_denied()) seen_.push_back(e.tool_call_denied().call().call_id());
    if (e.has_tool_call_answered()) {
      const std::string& id = e.tool_call_answered().call_id();
      if (!out_.count(id)) wrong("a result was taken for " + id + ", which was not handed out");
      if (!answered_.insert(id).second) wrong("a second result was taken for " + id);
    }
    if (!e.has_tool_call_requested()) return;
    const auto& call = e.tool_call_requested().call();
    ++handed_out_;
    seen_.push_back(call.call_id());
    if (!out_.insert(call.call_id()).second) wrong(call.call_id() + " was handed out twice");
    if (!within_grants(call)) wrong("handed out: " + call.ShortDebugString().substr(0, 200));
    const auto d = decided_.find(call.call_id());
    if (d == decided_.end() || d->second.decision_id() != call.decision_id())
      wrong("no decision on " + call.call_id());
    else if (!d->second.allow() && !d->second.needs_approval())
      wrong("handed out against its decision: " + call.name());
  }

  void give(const v1::SessionCommand& c) {
    context_.set_command_id("acme:" + std::to_string(++commands_));
    const bool over = state_.status() == v1::CANCELLED || state_.status() == v1::COMPLETED ||
                      state_.status() == v1::FAILED;
    auto d = SessionDecider::decide(self_, state_, c, context_);
    if (!d) return;
    if (over && !d->events.empty()) wrong("something happened after the end");
    for (const auto& e : d->events) {
      watch(e);
      SessionDecider::evolve(state_, e);
    }
  }

  v1::StartTerms terms_;  // under which calls are approved: as when the turn began
  const v1::Turn& turn() const { return state_.turns(0); }

  v1::SessionCommand answer() {
    v1::SessionCommand c;
    auto* a = c.mutable_call_succeeded()->mutable_answer();
    a->set_call_id(turn().call_id().empty() || random_() % 8 == 0 ? old_call_ : turn().call_id());
    old_call_ = a->call_id();
    a->set_finish_reason(random_() % 2 ? "tool_calls" : "stop");
    a->set_output(random_() % 2 ? "I will" : "");
    static const char* const made_up[] = {"format", "", "Fetch", "fetch ", "tool.unknown", "f\ne"};
    for (int i = 0, n = 1 + static_cast<int>(random_() % 4); i < n; ++i) {
      auto* call = a->add_tool_calls();
      call->set_id("call_" + std::to_string(random_() % 2));
      call->set_name(random_() % 5 ? kTools[random_() % std::size(kTools)].name
                                   : made_up[random_() % std::size(made_up)]);
      call->set_arguments(
          arguments()[random_() % 3 ? random_() % 3 : random_() % arguments().size()].text);
      ++asked_;
    }
    return c;
  }

  v1::SessionCommand result() {
    v1::SessionCommand c;
    auto* r = c.mutable_submit_tool_result();
    r->set_call_id("tool_made_up");
    if (!seen_.empty()) r->set_call_id(seen_[random_() % seen_.size()]);
    if (!parked_.empty() && random_() % 4 == 0)
      r->set_call_id(parked_[random_() % parked_.size()].call_id());
    r->set_output("result " + std::to_string(random_() % 2));
    return c;
  }

  // For a call that waits or waited; some under the hash of another action.
  v1::SessionCommand approval() {
    v1::SessionCommand c;
    if (parked_.empty()) return c;
    const auto& call = parked_[random_() % parked_.size()];
    auto* a = c.mutable_approval_decided();
    a->set_approval_id(call.approval_id());
    a->set_action_hash(random_() % 3 ? call.action_hash() : parked_.front().action_hash());
    a->set_approved(random_() % 3 != 0);
    a->set_decided_by("ben");
    *a->mutable_terms() = terms_;
    // The first word counts.
    if (settled_.insert(call.call_id()).second && a->approved() &&
        a->action_hash() == call.action_hash())
      approved_.insert(call.call_id());
    return c;
  }

  v1::SessionCommand paid() {
    v1::SessionCommand c;
    c.mutable_budget_granted()->set_reservation_id(turn().reservation_id());
    return c;
  }

  v1::SessionCommand lost() {
    v1::SessionCommand c;
    if (random_() % 3 == 0)
      c.mutable_cancel_session();
    else
      c.mutable_effect_outcome()->set_effect_id("tools:1:" + std::to_string(random_() % 3));
    return c;
  }

  // What moves a session on, so that more than its beginning is seen.
  v1::SessionCommand expected() {
    if (turn().stage() == v1::RESERVING) return paid();
    if (turn().stage() == v1::CALLING) return answer();
    v1::SessionCommand c;
    if (turn().stage() == v1::RECALLING) {
      const auto effects = SessionDecider::effects(self_, state_);
      c.mutable_effect_outcome()->set_effect_id(effects.at(0).effect_id);
      c.mutable_effect_outcome()->set_attempt(1);
      c.mutable_effect_outcome()->set_result("");
      return c;
    }
    for (const auto& id : out_)
      if (!answered_.count(id)) {
        c.mutable_submit_tool_result()->set_call_id(id);
        return c;
      }
    return approval();
  }

  std::mt19937_64& random_;
  const ActorKey self_{"acme", "session", "s", {}};
  v1::SessionState state_;
  v1::Context context_;
  std::set<std::string> named_, granted_, approved_, settled_, out_, answered_;
  std::map<std::string, v1::PolicyDecision> decided_;
  std::vector<v1::ToolCall> parked_;
  std::vector<std::string> seen_, violations_;
  std::string old_call_ = "call_none";
  int commands_ = 0, handed_out_ = 0, asked_ = 0;
};

// A session is 60 commands; one for ten of the gate's sequences (SOMA_S11_SEQUENCES).
TEST(S11, ASessionHandsOutOnlyWhatWasGranted) {
  const char* wanted = std::getenv("SOMA_S11_SEQUENCES");
  const int sequences = wanted ? std::max(400, std::atoi(wanted) / 10) : 400;
  std::mt19937_64 random(20261127);
  std::int64_t asked = 0, out = 0, violations = 0;
  std::string first;
  for (int n = 0; n < sequences; ++n) {
    HostileSession session(random);
    for (int i = 0; i < 60; ++i) session.step();
    asked += session.asked();
    out += session.handed_out();
    violations += static_cast<std::int64_t>(session.violations().size());
    if (first.empty() && !session.violations().empty()) first = session.violations().front();
  }
  EXPECT_EQ(violations, 0) << first;
  EXPECT_GT(out, sequences / 2);  // or the test would show nothing
  std::printf("S11: %d sessions, %lld calls asked for, %lld handed out, %lld violations\n",
              sequences, static_cast<long long>(asked), static_cast<long long>(out),
              static_cast<long long>(violations));
}

}  // namespace
}  // namespace soma::actors
