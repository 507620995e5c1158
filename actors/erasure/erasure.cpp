// A request is kept until its second key comes, or does not.
#include "actors/erasure/erasure.h"

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/two_keys.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"

namespace soma::actors {

namespace {

using Decided = ErasureDecider::Decided;
constexpr int kMaxOpen = 1000;
constexpr int kMaxApproved = 1000;
constexpr std::size_t kMaxReason = 1000;

Decided answered(const v1::ErasureRequest& r) {
  Decided d;
  d.reply.set_erasure_id(r.erasure_id());
  d.reply.set_approval_id(r.approval_id());
  d.reply.set_approved(!r.approved_by().empty());
  return d;
}

Result<Decided> request(const ActorKey& self, const v1::ErasureState& s,
                        const v1::RequestErasure& c, const v1::Context& context) {
  if (c.erasure_id().empty() || c.subject_hash().empty())
    return fail(Code::kInvalidArgument, "an erasure needs an id and the hash of its subject");
  if (c.reason().size() > kMaxReason)
    return fail(Code::kInvalidArgument, "reason is over 1000 bytes", "body.reason");
  if (const auto it = s.open().find(c.erasure_id()); it != s.open().end())
    return answered(it->second);
  for (const auto& known : s.approved())
    if (known.erasure_id() == c.erasure_id()) return answered(known);
  if (s.open_size() >= kMaxOpen)
    return fail(Code::kConflict, "1000 erasures wait for their second key, the most there may be");
  v1::ErasureRequest r;
  r.set_erasure_id(c.erasure_id());
  r.set_subject_hash(c.subject_hash());
  r.set_reason(c.reason());
  r.set_at_ms(context.now_ms());
  v1::Approval a = approval_for(self, context, two_keys::kOpenMs);
  a.set_action("privacy.erase_subject");
  a.set_action_hash(sha256_hex(deterministic_bytes(r)));
  a.set_summary("Erase a person's data for ever: erasure " + c.erasure_id() +
                ", which names the person while it waits");
  r.set_approval_id(a.approval_id());
  Decided d = answered(r);
  *d.events.emplace_back().mutable_requested()->mutable_request() = r;
  d.sends.push_back(ask(self, a));
  return d;
}

const v1::ErasureRequest* waiting(const v1::ErasureState& s, const std::string& approval_id) {
  for (const auto& [id, r] : s.open())
    if (r.approval_id() == approval_id) return &r;
  return nullptr;
}

Decided approved(const v1::ErasureState& s, const v1::ErasureApprovedCommand& c,
                 const v1::Context& context) {
  const auto* r = waiting(s, c.approval_id());
  if (!r) return {};  // decided already
  Decided d = answered(*r);
  auto* e = d.events.emplace_back().mutable_approved();
  e->set_erasure_id(r->erasure_id());
  e->set_approval_id(c.approval_id());
  e->set_approved_by(c.approved_by());
  e->set_at_ms(context.now_ms());
  d.reply.set_approved(true);
  return d;
}

Decided rejected(const v1::ErasureState& s, const v1::ErasureRejectedCommand& c) {
  const auto* r = waiting(s, c.approval_id());
  if (!r) return {};
  Decided d = answered(*r);
  auto* e = d.events.emplace_back().mutable_withdrawn();
  e->set_erasure_id(r->erasure_id());
  e->set_approval_id(c.approval_id());
  e->set_by(c.rejected_by());
  e->set_reason(c.reason());
  return d;
}

}  // namespace

ActorKey erasure_key(const std::string& tenant) { return {tenant, "erasure", "requests", tenant}; }

Result<Decided> ErasureDecider::decide(const ActorKey& self, const State& s, const Command& c,
                                       const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kRequestErasure:
      return request(self, s, c.request_erasure(), context);
    case Command::kApproved:
      return approved(s, c.approved(), context);
    case Command::kRejected:
      return rejected(s, c.rejected());
    case Command::kEffectOutcome:
      return Decided{};  // it has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void ErasureDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kRequested:
      (*s.mutable_open())[e.requested().request().erasure_id()] = e.requested().request();
      return;
    case Event::kApproved: {
      const auto it = s.open().find(e.approved().erasure_id());
      if (it == s.open().end()) return;
      auto* r = s.add_approved();
      *r = it->second;
      r->set_approved_by(e.approved().approved_by());
      s.mutable_open()->erase(e.approved().erasure_id());
      if (s.approved_size() > kMaxApproved) s.mutable_approved()->DeleteSubrange(0, 1);
      return;
    }
    case Event::kWithdrawn:
      s.mutable_open()->erase(e.withdrawn().erasure_id());
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string ErasureDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kRequested:
      return "erasure.requested";
    case Event::kApproved:
      return "erasure.approved";
    case Event::kWithdrawn:
      return "erasure.withdrawn";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
