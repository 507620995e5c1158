// The register's rules: not by the requester, not twice, not after its time.
#include "actors/approvals/approvals.h"

#include <map>

#include "actors/actor_type.h"
#include "actors/constitution/constitution.h"
#include "actors/gateway/gateway.h"
#include "actors/identity/identity.h"
#include "soma/v1/constitution.pb.h"
#include "soma/v1/erasure.pb.h"
#include "soma/v1/gateway.pb.h"
#include "soma/v1/rules.pb.h"
#include "soma/v1/session.pb.h"
#include "soma/v1/tenant.pb.h"

namespace soma::actors {

namespace {

using Decided = ApprovalsDecider::Decided;
constexpr int kMaxPending = 10'000;
constexpr int kMaxDecided = 1000;
constexpr std::size_t kMaxName = 256;  // bytes
constexpr const char* kExpiry = "expire:";

const v1::Approval* find(const v1::ApprovalsState& s, const std::string& id) {
  auto it = s.approvals().find(id);
  return it == s.approvals().end() ? nullptr : &it->second;
}

std::string status_word(v1::ApprovalStatus status) {
  switch (status) {
    case v1::APPROVED:
      return "approved";
    case v1::REJECTED:
      return "rejected";
    case v1::EXPIRED:
      return "expired";
    default:
      return "pending";
  }
}

// A constitution, rules or the gateway: who holds a proposal until its second key.
template <typename Command>
OutSend answer_holder(const v1::Approval& a, bool approve, const std::string& by,
                      const std::string& reason) {
  Command c;
  if (approve) {
    c.mutable_approved()->set_approval_id(a.approval_id());
    c.mutable_approved()->set_approved_by(by);
  } else {
    c.mutable_rejected()->set_approval_id(a.approval_id());
    c.mutable_rejected()->set_rejected_by(by);
    c.mutable_rejected()->set_reason(reason);
  }
  return {to_key(a.requester()), deterministic_bytes(c)};
}

// What was decided, in the words of whoever asked.
OutSend answer(const v1::Approval& a, bool approve, const std::string& by,
               const std::string& reason, const v1::StartTerms* terms = nullptr) {
  if (a.requester().type() == "constitution")
    return answer_holder<v1::ConstitutionCommand>(a, approve, by, reason);
  if (a.requester().type() == "rules")
    return answer_holder<v1::RulesCommand>(a, approve, by, reason);
  if (a.requester().type() == "gateway")
    return answer_holder<v1::GatewayCommand>(a, approve, by, reason);
  if (a.requester().type() == "tenant")
    return answer_holder<v1::TenantCommand>(a, approve, by, reason);
  if (a.requester().type() == "erasure")
    return answer_holder<v1::ErasureCommand>(a, approve, by, reason);
  v1::SessionCommand c;
  auto* decided = c.mutable_approval_decided();
  decided->set_approval_id(a.approval_id());
  decided->set_approved(approve);
  decided->set_decided_by(by);
  decided->set_reason(reason);
  decided->set_action_hash(a.action_hash());
  if (terms) *decided->mutable_terms() = *terms;
  return {to_key(a.requester()), deterministic_bytes(c)};
}

// Tells people that they should look.
void notify(Decided& d, const v1::Approval& a, const char* severity, const std::string& title,
            const std::string& user, const v1::Context& context) {
  auto* n = d.events.emplace_back().mutable_notified();
  n->set_notification_id(derive_id(context, "ntf"));
  n->set_type("review");
  n->set_severity(severity);
  n->set_title(a.action() + " " + title);
  n->set_message(a.summary());
  n->set_user_id(user);
  (*n->mutable_metadata())["approval_id"] = a.approval_id();
  (*n->mutable_metadata())["action"] = a.action();
  if (!a.session_id().empty()) (*n->mutable_metadata())["session_id"] = a.session_id();
  n->set_at_ms(context.now_ms());
  n->set_user(a.user());
}

void settle(Decided& d, const v1::Approval& a, v1::ApprovalStatus status, const std::string& by,
            const std::string& reason, std::int64_t now_ms, const std::string& replaced_by = {}) {
  auto* e = d.events.emplace_back().mutable_decided();
  e->set_approval_id(a.approval_id());
  e->set_status(status);
  e->set_decided_by(by);
  e->set_reason(reason);
  e->set_at_ms(now_ms);
  e->set_replaced_by(replaced_by);
  *d.reply.mutable_approval() = a;
  d.reply.mutable_approval()->set_status(status);
  d.reply.mutable_approval()->set_decided_by(by);
  d.reply.mutable_approval()->set_reason(reason);
  d.reply.mutable_approval()->set_decided_ms(now_ms);
}

Result<Decided> request(const v1::ApprovalsState& s, const v1::RequestApproval& c,
                        const v1::Context& context) {
  const auto& a = c.approval();
  if (a.approval_id().empty() || a.action_hash().empty() || a.requested_by().empty())
    return fail(Code::kInvalidArgument, "an approval needs an id, an action and a requester");
  Decided d;
  if (const auto* known = find(s, a.approval_id())) {
    *d.reply.mutable_approval() = *known;
    return d;
  }
  if (s.approvals_size() - s.decided_size() >= kMaxPending) {
    // Refused as a decision: who waits must not wait for ever.
    d.sends.push_back(
        answer(a, false, "soma", "10000 approvals are pending, the most there may be"));
    return d;
  }
  auto* requested = d.events.emplace_back().mutable_requested()->mutable_approval();
  *requested = a;
  requested->set_status(v1::PENDING);
  requested->set_requested_ms(context.now_ms());
  *d.reply.mutable_approval() = *requested;
  notify(d, v1::Approval(*requested), "warning", "waits for approval", {}, context);
  return d;
}

// The approval, if the caller may decide it now.
Result<const v1::Approval*> open_for(const v1::ApprovalsState& s, const std::string& id,
                                     const v1::Context& context) {
  const auto* a = find(s, id);
  if (!a) return fail(Code::kNotFound, "Approval not found");
  if (a->status() != v1::PENDING)
    return fail(Code::kConflict, "the approval is already " + status_word(a->status()));
  if (context.now_ms() >= a->expires_ms())
    return fail(Code::kConflict, "the approval is already expired");
  const std::string& caller = context.principal().subject();
  if (caller == a->requested_by())
    return fail(Code::kForbidden, "the requester may not decide; another person must");
  if (is_service(caller)) return fail(Code::kForbidden, "a service may not decide; a person must");
  if (!a->delegated_to().empty() && caller != a->delegated_to())
    return fail(Code::kForbidden,
                "the approval was delegated to " + a->delegated_to() + ", who alone may decide");
  return a;
}

// Whoever may decide says who shall. Whoever delegated may do so again, to take it back.
Result<Decided> delegate(const v1::ApprovalsState& s, const v1::DelegateApproval& c,
                         const v1::Context& context) {
  const auto* known = find(s, c.approval_id());
  const bool again = known && !known->delegated_by().empty() &&
                     known->delegated_by() == context.principal().subject();
  v1::Context asker = context;
  if (again) asker.mutable_principal()->set_subject(known->delegated_to());
  const auto a = open_for(s, c.approval_id(), asker);
  if (!a) return tl::unexpected(a.error());
  if (c.to().empty() || c.to().size() > kMaxName)
    return fail(Code::kInvalidArgument, "to must name a person, in 1 to 256 bytes", "body.to");
  if (c.to() == (*a)->requested_by())
    return fail(Code::kInvalidArgument, "to must not be the requester, who may not decide",
                "body.to");
  if (is_service(c.to()))
    return fail(Code::kInvalidArgument, "to must be a person, not a service", "body.to");
  Decided d;
  *d.reply.mutable_approval() = **a;
  if (c.to() == (*a)->delegated_to()) return d;
  auto* e = d.events.emplace_back().mutable_delegated();
  e->set_approval_id(c.approval_id());
  e->set_to(c.to());
  e->set_by(context.principal().subject());
  e->set_reason(c.reason());
  e->set_at_ms(context.now_ms());
  d.reply.mutable_approval()->set_delegated_to(e->to());
  d.reply.mutable_approval()->set_delegated_by(e->by());
  notify(d, **a, "warning", "was delegated to you", c.to(), context);
  return d;
}

Result<Decided> decide_one(const v1::ApprovalsState& s, const v1::DecideApproval& c,
                           const v1::Context& context) {
  const auto open = open_for(s, c.approval_id(), context);
  if (!open) return tl::unexpected(open.error());
  const auto* a = *open;
  Decided d;
  settle(d, *a, c.approve() ? v1::APPROVED : v1::REJECTED, context.principal().subject(),
         c.reason(), context.now_ms());
  d.sends.push_back(answer(*a, c.approve(), context.principal().subject(), c.reason(), &c.terms()));
  return d;
}

Result<Decided> withdraw(const v1::ApprovalsState& s, const v1::WithdrawApproval& c,
                         const v1::Context& context) {
  Decided d;
  const auto* a = find(s, c.approval_id());
  if (a && a->status() == v1::PENDING)
    settle(d, *a, v1::EXPIRED, "soma", c.reason(), context.now_ms(), c.replaced_by());
  return d;
}

Result<Decided> could_not_start(const v1::ApprovalsState& s, const v1::ApprovalFailed& c,
                                const v1::Context& context) {
  Decided d;
  const auto* a = find(s, c.approval_id());
  if (!a && c.has_requester()) {  // decided so long ago that it is no longer kept
    v1::Approval gone;
    gone.set_approval_id(c.approval_id());
    gone.set_action_hash(c.action_hash());
    *gone.mutable_requester() = c.requester();
    d.sends.push_back(answer(gone, false, "soma", "the approval is no longer kept; ask again"));
  }
  if (!a || a->status() != v1::APPROVED) return d;
  auto* reopened = d.events.emplace_back().mutable_reopened();
  reopened->set_approval_id(c.approval_id());
  *reopened->mutable_failure() = c.failure();
  reopened->set_at_ms(context.now_ms());
  notify(d, *a, "error", "could not start and waits for approval again: " + c.failure().code(),
         a->delegated_to(), context);
  return d;
}

Result<Decided> expired(const v1::ApprovalsState& s, const v1::EffectOutcome& o,
                        const v1::Context& context) {
  Decided d;
  if (!o.effect_id().starts_with(kExpiry)) return d;
  const auto* a = find(s, o.effect_id().substr(std::string_view(kExpiry).size()));
  if (!a || a->status() != v1::PENDING) return d;
  settle(d, *a, v1::EXPIRED, "soma", "nobody decided in time", context.now_ms());
  d.sends.push_back(answer(*a, false, "soma", "the approval expired"));
  return d;
}

}  // namespace

ActorKey approvals_key(const std::string& tenant) {
  return {tenant, "approvals", "register", tenant};
}

v1::Approval approval_for(const ActorKey& self, const v1::Context& context, std::int64_t open_ms) {
  v1::Approval a;
  a.set_approval_id(derive_id(context, "apr"));
  a.set_requested_by(context.principal().subject());
  a.set_expires_ms(context.now_ms() + open_ms);
  *a.mutable_requester() = to_ref(self);
  return a;
}

OutSend ask(const ActorKey& self, const v1::Approval& approval) {
  v1::ApprovalsCommand command;
  *command.mutable_request_approval()->mutable_approval() = approval;
  // What holds for all tenants waits in one register, whoever keeps it.
  const std::string tenant = self.tenant == gateway_key().tenant ? kGlobalTenant : self.tenant;
  return {approvals_key(tenant), deterministic_bytes(command)};
}

Result<Decided> ApprovalsDecider::decide(const ActorKey&, const State& s, const Command& c,
                                         const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kRequestApproval:
      return request(s, c.request_approval(), context);
    case Command::kDecideApproval:
      return decide_one(s, c.decide_approval(), context);
    case Command::kWithdrawApproval:
      return withdraw(s, c.withdraw_approval(), context);
    case Command::kDelegateApproval:
      return delegate(s, c.delegate_approval(), context);
    case Command::kApprovalFailed:
      return could_not_start(s, c.approval_failed(), context);
    case Command::kEffectOutcome:
      return expired(s, c.effect_outcome(), context);
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void ApprovalsDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kRequested:
      (*s.mutable_approvals())[e.requested().approval().approval_id()] = e.requested().approval();
      return;
    case Event::kDecided: {
      const auto& decided = e.decided();
      auto& a = (*s.mutable_approvals())[decided.approval_id()];
      a.set_status(decided.status());
      a.set_decided_by(decided.decided_by());
      a.set_reason(decided.reason());
      a.set_decided_ms(decided.at_ms());
      a.set_replaced_by(decided.replaced_by());
      a.clear_error();
      s.add_decided(decided.approval_id());
      if (s.decided_size() > kMaxDecided) {
        s.mutable_approvals()->erase(s.decided(0));
        s.mutable_decided()->DeleteSubrange(0, 1);
      }
      return;
    }
    case Event::kDelegated: {
      auto& a = (*s.mutable_approvals())[e.delegated().approval_id()];
      a.set_delegated_to(e.delegated().to());
      a.set_delegated_by(e.delegated().by());
      return;
    }
    case Event::kReopened: {
      auto& a = (*s.mutable_approvals())[e.reopened().approval_id()];
      a.set_status(v1::PENDING);
      *a.mutable_error() = e.reopened().failure();
      a.clear_decided_by();
      a.clear_decided_ms();
      a.clear_reason();
      for (int i = 0; i < s.decided_size(); ++i)
        if (s.decided(i) == e.reopened().approval_id()) {
          s.mutable_decided()->DeleteSubrange(i, 1);
          break;
        }
      return;
    }
    case Event::kNotified:
      return;  // told to people
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> ApprovalsDecider::effects(const ActorKey&, const State& s) {
  std::map<std::string, std::int64_t> due;  // in the order of ids, whatever the map's
  for (const auto& [id, a] : s.approvals())
    if (a.status() == v1::PENDING) due[id] = a.expires_ms();
  std::vector<Effect> out;
  for (const auto& [id, at_ms] : due) {
    Effect timer;
    timer.effect_id = kExpiry + id;
    timer.kind = "timer";
    timer.not_before_ms = at_ms;
    out.push_back(std::move(timer));
  }
  return out;
}

std::string ApprovalsDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kRequested:
      return "approval.requested";
    case Event::kDecided:
      return "approval.decided";
    case Event::kReopened:
      return "approval.reopened";
    case Event::kDelegated:
      return "approval.delegated";
    case Event::kNotified:
      return "notification.raised";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
