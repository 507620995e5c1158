// How a turn begins and how it fails: what several of a session's commands share.
#pragma once

#include <string>

#include "actors/session/session.h"

namespace soma::actors {

// Nothing happened: the session as it stands.
SessionDecider::Decided no_change(const v1::SessionState& s);
// How long a person may take: the session's metadata "approval_seconds", 1 second to 30 days; a day
// when absent or unreadable.
std::int64_t approval_ms_of(const v1::SessionState& s);
std::int64_t used_tokens(const v1::SessionState& s);  // of all turns
v1::Failure failure(std::string code, std::string message);
void send_to_tenant(SessionDecider::Decided& d, const std::string& tenant,
                    const v1::TenantCommand& command);
// Gives back what the turn reserved, if anything.
void release(SessionDecider::Decided& d, const v1::SessionState& s, const v1::Turn& t,
             const std::string& reason);
void fail_turn(SessionDecider::Decided& d, std::uint32_t turn, const v1::Failure& f,
               std::int64_t now_ms);
void ask_budget(SessionDecider::Decided& d, const ActorKey& self, std::uint32_t turn,
                std::int64_t tokens, const std::string& user, const v1::Context& context);

// What a turn is judged under and asked of, as pushed with its command.
struct TurnTerms {
  const v1::TenantSettings& settings;
  const v1::ConstitutionInForce& constitution;
  const v1::ModelPlan& models;
  const v1::RulesInForce& rules;
  const v1::TurnTools& tools;
};

// A failed check names the constitution, so that its reader knows whose rule it was. `what`:
// "turn", "call".
v1::Failure denial(const v1::PolicyDecision& decision, const std::string& what);
// The decision on a prompt of this session, in the name of the context's principal; recorded by the
// caller.
Result<v1::PolicyDecision> judge_turn(v1::PolicyInput policy, std::int64_t tokens,
                                      const v1::TenantSettings& settings,
                                      const v1::ConstitutionInForce& constitution,
                                      const v1::RulesInForce& rules, const ActorKey& self,
                                      const v1::SessionState& s, const v1::Context& context);

// Turn started, policy decided, and then: refused, parked for a person, or budget asked for.
Status begin_turn(SessionDecider::Decided& d, const ActorKey& self, const v1::SessionState& s,
                  const std::string& prompt, v1::PolicyInput policy, const TurnTerms& terms,
                  const v1::Context& context);
// An approved turn that could not start: it waits again, under the same approval.
void reopen_turn(SessionDecider::Decided& d, const ActorKey& self, const v1::SessionState& s,
                 const v1::Turn& turn, const v1::Failure& why, const v1::Context& context);
// Waits for a person, who is not whoever asked for the turn.
void park_turn(SessionDecider::Decided& d, const ActorKey& self, const v1::SessionState& s,
               const v1::Turn& turn, const v1::PolicyDecision& decision,
               const v1::Context& context);
// Another prompt for a turn that waits: judged anew with the inputs it had, and parked under a new
// approval that whoever edited may not give; the approval before is closed.
Status edit_turn(SessionDecider::Decided& d, const ActorKey& self, const v1::SessionState& s,
                 const v1::Turn& turn, const v1::EditTurn& edit, const v1::Context& context);

}  // namespace soma::actors
