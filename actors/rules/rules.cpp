// The rules' own rules: what does not compile is refused; in production with two keys.
#include "actors/rules/rules.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/policy/rules.h"
#include "actors/two_keys.h"
#include "actors/version_tag.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"

namespace soma::actors {

namespace {

using Decided = RulesDecider::Decided;
constexpr int kMaxPast = 1000;

Decided unchanged(const v1::RulesState& s) { return two_keys::unchanged<Decided>(s); }

v1::PolicyRules next_of(const v1::RulesState& s, const std::string& text,
                        const v1::Context& context) {
  v1::PolicyRules rules;
  rules.set_version(s.active().version() + 1);
  rules.set_hash(sha256_hex(text));
  rules.set_text(text);
  rules.set_loaded_ms(context.now_ms());
  rules.set_loaded_by(context.principal().subject());
  return rules;
}

Status check(const v1::RulesState& s, const v1::LoadRules& c) {
  const auto& tags = c.expected_tags();
  if (!tags.empty() && std::find(tags.begin(), tags.end(), version_tag(s.active())) == tags.end())
    return fail(Code::kVersionMismatch,
                "the rules are at version " + std::to_string(s.active().version()) +
                    ", which If-Match does not name; read them again",
                "If-Match");
  const auto issues = check_rules(c.text());
  if (!issues.empty()) return fail(Code::kInvalidArgument, to_string(issues.front()), "body.rules");
  return {};
}

void ask_second_key(Decided& d, const ActorKey& self, const v1::PolicyRules& rules,
                    const v1::Context& context) {
  v1::Approval a = approval_for(self, context, two_keys::kOpenMs);
  a.set_action("policy.rules");
  a.set_action_hash(sha256_hex(deterministic_bytes(rules)));
  a.set_summary("Policy rules, version " + std::to_string(rules.version()) + " with hash " +
                rules.hash());
  d.sends.push_back(ask(self, a));
  auto* proposed = d.events.emplace_back().mutable_proposed();
  *proposed->mutable_rules() = rules;
  proposed->set_approval_id(a.approval_id());
  d.reply.set_approval_id(a.approval_id());
}

Result<Decided> load(const ActorKey& self, const v1::RulesState& s, const v1::LoadRules& c,
                     const v1::Context& context) {
  if (auto ok = check(s, c); !ok) return tl::unexpected(ok.error());
  Decided d = unchanged(s);
  if (s.has_active() && s.active().text() == c.text()) return d;
  if (s.has_proposed()) {
    if (s.proposed().text() == c.text()) return d;
    return fail(Code::kConflict,
                "another text waits for its second key: approval " + s.approval_id());
  }
  const v1::PolicyRules next = next_of(s, c.text(), context);
  d.reply.set_changed(true);
  if (c.two_keys()) {
    ask_second_key(d, self, next, context);
    return d;
  }
  *d.events.emplace_back().mutable_updated()->mutable_rules() = next;
  *d.reply.mutable_active() = next;
  return d;
}

Result<Decided> approved(const v1::RulesState& s, const v1::RulesApproved& c) {
  Decided d = unchanged(s);
  if (!two_keys::waits_for(s, c.approval_id())) return d;  // withdrawn meanwhile
  auto* updated = d.events.emplace_back().mutable_updated();
  *updated->mutable_rules() = s.proposed();
  updated->set_approved_by(c.approved_by());
  return d;
}

}  // namespace

ActorKey rules_key(const std::string& tenant) { return {tenant, "rules", "current", tenant}; }

Result<Decided> RulesDecider::decide(const ActorKey& self, const State& s, const Command& c,
                                     const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kLoadRules:
      return load(self, s, c.load_rules(), context);
    case Command::kApproved:
      return approved(s, c.approved());
    case Command::kRejected:
      return two_keys::rejected<Decided>(s, c.rejected());
    case Command::kEffectOutcome:
      return unchanged(s);  // they have no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void RulesDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kUpdated: {
      const auto& rules = e.updated().rules();
      *s.mutable_active() = rules;
      auto* past = s.add_past();
      past->set_version(rules.version());
      past->set_hash(rules.hash());
      past->set_loaded_ms(rules.loaded_ms());
      past->set_loaded_by(rules.loaded_by());
      if (s.past_size() > kMaxPast) s.mutable_past()->DeleteSubrange(0, 1);
      s.clear_proposed();
      s.clear_approval_id();
      return;
    }
    case Event::kProposed:
      *s.mutable_proposed() = e.proposed().rules();
      s.set_approval_id(e.proposed().approval_id());
      return;
    case Event::kWithdrawn:
      s.clear_proposed();
      s.clear_approval_id();
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string RulesDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kUpdated:
      return "rules.updated";
    case Event::kProposed:
      return "rules.proposed";
    case Event::kWithdrawn:
      return "rules.withdrawn";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
