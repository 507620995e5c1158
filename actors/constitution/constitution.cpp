// The constitution's rules: versions only go forward, in production with two keys.
#include "actors/constitution/constitution.h"

#include <algorithm>

#include "actors/actor_type.h"
#include "actors/approvals/approvals.h"
#include "actors/two_keys.h"
#include "schemas/base/sha256.h"
#include "soma/v1/approval.pb.h"

namespace soma::actors {

namespace {

using Decided = ConstitutionDecider::Decided;
constexpr int kMaxPast = 1000;

Decided unchanged(const v1::ConstitutionState& s) { return two_keys::unchanged<Decided>(s); }

v1::Constitution numbered(const v1::ConstitutionState& s, v1::Constitution c,
                          const v1::Context& context) {
  c.set_number(s.active().number() + 1);
  c.set_loaded_ms(context.now_ms());
  c.set_loaded_by(context.principal().subject());
  return c;
}

Status check_forward(const v1::ConstitutionState& s, const v1::Constitution& c) {
  // The hash is what a caller signs and what sessions are bound to: never taken on trust.
  if (c.hash() != sha256_hex(c.document()) || c.signature().empty())
    return fail(Code::kInvalidArgument, "hash does not match the document", "body.hash");
  if (!s.has_active()) return {};
  if (c.version() == s.active().version())
    return fail(Code::kConflict,
                "version " + c.version() + " is in force with another document; name a new version",
                "body.version");
  if (c.issued_ms() < s.active().issued_ms())
    return fail(Code::kConflict,
                "the bundle was issued before the one in force; an old constitution does not come "
                "back without a new signature",
                "body.issued_at");
  return {};
}

Status check_tags(const v1::ConstitutionState& s, const v1::LoadConstitution& c) {
  const auto& tags = c.expected_tags();
  if (tags.empty() || std::find(tags.begin(), tags.end(), version_tag(s.active())) != tags.end())
    return {};
  return fail(Code::kVersionMismatch,
              "the constitution is at number " + std::to_string(s.active().number()) +
                  ", which If-Match does not name; read it again",
              "If-Match");
}

void ask_second_key(Decided& d, const ActorKey& self, const v1::Constitution& c,
                    const v1::Context& context) {
  v1::Approval a = approval_for(self, context, two_keys::kOpenMs);
  a.set_action("constitution.load");
  a.set_action_hash(sha256_hex(deterministic_bytes(c)));
  a.set_summary("Constitution " + c.version() + " with hash " + c.hash());
  d.sends.push_back(ask(self, a));
  auto* proposed = d.events.emplace_back().mutable_proposed();
  *proposed->mutable_constitution() = c;
  proposed->set_approval_id(a.approval_id());
  d.reply.set_approval_id(a.approval_id());
}

Result<Decided> load(const ActorKey& self, const v1::ConstitutionState& s,
                     const v1::LoadConstitution& command, const v1::Context& context) {
  const auto& c = command.constitution();
  if (auto ok = check_tags(s, command); !ok) return tl::unexpected(ok.error());
  Decided d = unchanged(s);
  if (s.has_active() && s.active().hash() == c.hash() && s.active().version() == c.version())
    return d;
  if (s.has_proposed() && s.proposed().hash() == c.hash()) return d;
  if (auto ok = check_forward(s, c); !ok) return tl::unexpected(ok.error());
  if (s.has_proposed())
    return fail(Code::kConflict, "version " + s.proposed().version() +
                                     " waits for its second key: approval " + s.approval_id());
  const v1::Constitution next = numbered(s, c, context);
  d.reply.set_changed(true);
  if (command.two_keys()) {
    ask_second_key(d, self, next, context);
    return d;
  }
  *d.events.emplace_back().mutable_updated()->mutable_constitution() = next;
  *d.reply.mutable_active() = next;
  return d;
}

Result<Decided> approved(const v1::ConstitutionState& s, const v1::ConstitutionApproved& c) {
  Decided d = unchanged(s);
  if (!two_keys::waits_for(s, c.approval_id())) return d;  // withdrawn meanwhile
  auto* updated = d.events.emplace_back().mutable_updated();
  *updated->mutable_constitution() = s.proposed();
  updated->set_approved_by(c.approved_by());
  return d;
}

}  // namespace

ActorKey constitution_key(const std::string& tenant) {
  return {tenant, "constitution", "current", tenant};
}

std::string version_tag(const v1::Constitution& c) {
  return std::to_string(c.number()) + "-" + c.hash();
}

v1::ConstitutionInForce in_force(const v1::Constitution& c) {
  v1::ConstitutionInForce out;
  out.set_number(c.number());
  out.set_version(c.version());
  out.set_hash(c.hash());
  *out.mutable_rules() = c.rules();
  return out;
}

Result<Decided> ConstitutionDecider::decide(const ActorKey& self, const State& s, const Command& c,
                                            const v1::Context& context) {
  switch (c.kind_case()) {
    case Command::kLoadConstitution:
      return load(self, s, c.load_constitution(), context);
    case Command::kApproved:
      return approved(s, c.approved());
    case Command::kRejected:
      return two_keys::rejected<Decided>(s, c.rejected());
    case Command::kEffectOutcome:
      return unchanged(s);  // it has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void ConstitutionDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kUpdated: {
      const auto& c = e.updated().constitution();
      *s.mutable_active() = c;
      auto* past = s.add_past();
      past->set_number(c.number());
      past->set_version(c.version());
      past->set_hash(c.hash());
      past->set_loaded_ms(c.loaded_ms());
      past->set_loaded_by(c.loaded_by());
      if (s.past_size() > kMaxPast) s.mutable_past()->DeleteSubrange(0, 1);
      s.clear_proposed();
      s.clear_approval_id();
      return;
    }
    case Event::kProposed:
      *s.mutable_proposed() = e.proposed().constitution();
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

std::string ConstitutionDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kUpdated:
      return "constitution.updated";
    case Event::kProposed:
      return "constitution.proposed";
    case Event::kWithdrawn:
      return "constitution.withdrawn";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
