// A key's rules: claimed once, answered once, freed by a refusal.
#include "actors/idempotency/idempotency.h"

#include "schemas/base/sha256.h"

namespace soma::actors {

namespace {

using Decided = IdempotencyDecider::Decided;

Decided replying(const v1::IdempotencyState& s) {
  Decided d;
  d.reply.set_round(s.round());
  d.reply.set_answered(s.has_answer());
  return d;
}

Result<Decided> claim(const v1::IdempotencyState& s, const v1::ClaimKey& c,
                      const v1::Context& context) {
  if (c.request_hash().empty())
    return fail(Code::kInvalidArgument, "request_hash must not be empty", "request_hash");
  if (s.request_hash() == c.request_hash()) return replying(s);
  if (!s.request_hash().empty())
    return fail(Code::kConflict, "this Idempotency-Key stands for another request (" + s.route() +
                                     "); use a new key for a new request");
  Decided d;
  auto* claimed = d.events.emplace_back().mutable_key_claimed();
  claimed->set_request_hash(c.request_hash());
  claimed->set_route(c.route());
  claimed->set_round(s.round() + 1);
  claimed->set_at_ms(context.now_ms());
  d.reply.set_round(s.round() + 1);
  d.reply.set_fresh(true);
  return d;
}

}  // namespace

ActorKey idempotency_key(const std::string& tenant, const std::string& key) {
  return {tenant, "idempotency", "key_" + sha256_hex(key).substr(0, 40), {}};
}

Result<Decided> IdempotencyDecider::decide(const ActorKey&, const State& s, const Command& c,
                                           const v1::Context& context) {
  Decided d = replying(s);
  switch (c.kind_case()) {
    case Command::kClaimKey:
      return claim(s, c.claim_key(), context);
    case Command::kRecordAnswer:  // the first answer of a round stays
      if (s.request_hash().empty() || s.round() != c.record_answer().round() || s.has_answer())
        return d;
      *d.events.emplace_back().mutable_answer_recorded()->mutable_answer() =
          c.record_answer().answer();
      d.reply.set_answered(true);
      return d;
    case Command::kFreeKey:
      if (s.request_hash().empty() || s.round() != c.free_key().round() || s.has_answer()) return d;
      d.events.emplace_back().mutable_key_freed()->set_reason(c.free_key().reason());
      return d;
    case Command::kEffectOutcome:
      return d;  // a key has no effects
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void IdempotencyDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kKeyClaimed:
      s.set_request_hash(e.key_claimed().request_hash());
      s.set_route(e.key_claimed().route());
      s.set_round(e.key_claimed().round());
      s.set_claimed_ms(e.key_claimed().at_ms());
      s.clear_answer();
      return;
    case Event::kAnswerRecorded:
      *s.mutable_answer() = e.answer_recorded().answer();
      return;
    case Event::kKeyFreed:
      s.clear_request_hash();
      s.clear_route();
      return;
    case Event::KIND_NOT_SET:
      return;
  }
}

std::string IdempotencyDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kKeyClaimed:
      return "key.claimed";
    case Event::kAnswerRecorded:
      return "answer.recorded";
    case Event::kKeyFreed:
      return "key.freed";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
