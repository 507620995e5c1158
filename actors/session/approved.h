// A second key does not open for ever: what was approved is judged again when it is to start, under
// what is in force then.
#pragma once

#include "actors/session/session.h"

namespace soma::actors {

// Records the new decision. False: a constitution, a rule, the settings or the kill switch refuse
// the turn now, and it waits again, with the reason. Terms that were not told refuse everything.
bool approved_turn_may_start(SessionDecider::Decided& d, const ActorKey& self,
                             const v1::SessionState& s, const v1::Turn& turn,
                             const v1::StartTerms& terms, const v1::Context& context);
// The same for a call of the turn in progress.
bool approved_call_may_start(SessionDecider::Decided& d, const ActorKey& self,
                             const v1::SessionState& s, const v1::Turn& turn,
                             const v1::ToolCall& call, const v1::StartTerms& terms,
                             const v1::Context& context);

// Why it may not start under these terms; nothing: it may. Where a person is asked for that refuses
// nothing: one has agreed, or will be asked.
v1::Failure refusal(const v1::StartTerms& terms, const Result<v1::PolicyDecision>& decision,
                    const char* what);
// `policy.decided`; `call_id`: of a tool's call, empty: on the turn.
void record_decision(SessionDecider::Decided& d, const v1::Turn& turn,
                     const v1::PolicyDecision& decision, const std::string& call_id = {});

// What the turn goes on under once it was approved: of one without tools the constitution alone.
v1::StartTerms terms_kept(const v1::Turn& turn, const v1::StartTerms& terms);

// Pending again, with why: told to the register.
void reopen_approval(SessionDecider::Decided& d, const ActorKey& self,
                     const std::string& approval_id, const std::string& action_hash,
                     const v1::Failure& why);

}  // namespace soma::actors
