// Proposed, then approved as put, rejected, or overtaken by another change.
#include "actors/tenant/leaving_production.h"

#include <google/protobuf/text_format.h>

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/policy/policy.h"
#include "actors/two_keys.h"
#include "schemas/base/cut_text.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"

namespace soma::actors {

using Decided = TenantDecider::Decided;

namespace {

constexpr std::size_t kShownBytes = 200;  // of a member's value; GET of the tenant shows it whole

std::string value_of(const v1::TenantSettings& s, const google::protobuf::FieldDescriptor* member) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string out;
  const auto add = [&](int index) {
    std::string one;
    printer.PrintFieldValueToString(s, member, index, &one);
    out += (out.empty() ? "" : "; ") + one;
  };
  if (!member->is_repeated()) add(-1);
  for (int i = 0; member->is_repeated() && i < s.GetReflection()->FieldSize(s, member); ++i) add(i);
  return out.empty() ? "none" : cut_text(out, kShownBytes);
}

// "deployment_mode: production -> test, …": all that another person would agree to.
std::string what_changes(v1::TenantSettings old, v1::TenantSettings next) {
  for (auto* s : {&old, &next}) {
    s->clear_version();
    s->clear_hash();
    for (auto& rule : *s->mutable_budgets()) rule.clear_offsets();  // the zone's name says them
  }
  std::string out;
  const auto* type = v1::TenantSettings::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* member = type->field(i);
    const std::string was = value_of(old, member), is = value_of(next, member);
    if (was != is)
      out += (out.empty() ? "" : ", ") + std::string(member->name()) + ": " + was + " -> " + is;
  }
  return out;
}

void withdraw(Decided& d, const v1::TenantState& s, const std::string& by,
              const std::string& reason, const v1::Context& context) {
  auto* withdrawn = d.events.emplace_back().mutable_settings_withdrawn();
  withdrawn->set_approval_id(s.approval_id());
  withdrawn->set_by(by);
  withdrawn->set_reason(reason);
  withdrawn->set_at_ms(context.now_ms());
}

}  // namespace

bool leaves_production(const v1::TenantSettings& old, const v1::TenantSettings& next) {
  return is_production(old.deployment_mode()) && !is_production(next.deployment_mode());
}

Result<Decided> propose_settings(const ActorKey& self, const v1::TenantState& s,
                                 const v1::TenantSettings& next, std::uint64_t rolled_back_to,
                                 const v1::Context& context) {
  Decided d;
  *d.reply.mutable_settings() = s.settings();
  d.reply.set_approval_id(s.approval_id());
  if (s.has_proposed()) {
    if (s.proposed().settings().hash() == next.hash()) return d;
    return fail(Code::kConflict,
                "other settings that leave production wait for their second key: "
                "approval " +
                    s.approval_id());
  }
  auto* event = d.events.emplace_back().mutable_settings_proposed();
  auto* proposed = event->mutable_proposed();
  *proposed->mutable_settings() = next;
  proposed->set_base_version(s.settings().version());
  proposed->set_proposed_by(context.principal().subject());
  proposed->set_at_ms(context.now_ms());
  proposed->set_rolled_back_to(rolled_back_to);
  v1::Approval a = approval_for(self, context, two_keys::kOpenMs);
  a.set_action("tenant.settings");
  a.set_action_hash(sha256_hex(deterministic_bytes(*proposed)));
  a.set_summary("Settings on version " + std::to_string(s.settings().version()) + ": " +
                what_changes(s.settings(), next));
  event->set_approval_id(a.approval_id());
  d.sends.push_back(ask(self, a));
  d.reply.set_approval_id(a.approval_id());
  d.reply.set_changed(true);
  return d;
}

void overtake_proposal(Decided& d, const ActorKey& self, const v1::TenantState& s,
                       const v1::Context& context) {
  if (!s.has_proposed()) return;
  const std::string reason = "the settings were changed meanwhile";
  withdraw(d, s, "soma", reason, context);
  v1::ApprovalsCommand c;
  c.mutable_withdraw_approval()->set_approval_id(s.approval_id());
  c.mutable_withdraw_approval()->set_reason(reason);
  d.sends.push_back({approvals_key(self.tenant), deterministic_bytes(c)});
}

Decided settings_rejected(const v1::TenantState& s, const v1::SettingsRejected& c,
                          const v1::Context& context) {
  Decided d;
  *d.reply.mutable_settings() = s.settings();
  if (two_keys::waits_for(s, c.approval_id())) withdraw(d, s, c.rejected_by(), c.reason(), context);
  return d;
}

}  // namespace soma::actors
