// Tools of a turn: each call that the model asks for is judged by itself, then handed out, denied
// or parked for a person; results come back once, and the model is asked again.
#pragma once

#include <string>
#include <vector>

#include "actors/session/session.h"

namespace soma::actors {

inline constexpr int kMaxTools = 32;
inline constexpr std::size_t kMaxToolBytes = 32 * 1024;  // of all definitions of a turn
inline constexpr int kMaxToolRounds = 8;                 // answers of one turn that ask for tools
inline constexpr int kMaxCallsPerRound = 16;
inline constexpr std::size_t kMaxArgumentBytes = 16 * 1024;  // of one call
inline constexpr std::size_t kMaxResultBytes = 32 * 1024;    // of one call
inline constexpr std::size_t kMaxTurnToolBytes = 64 * 1024;  // arguments and results of a turn
inline constexpr std::size_t kMaxSaidBytes = 4 * 1024;       // kept of what was said beside calls

// kInvalidArgument names the member, "body.tools.2.function.name".
Status check_tools(const v1::TurnTools& tools);

// The definitions and what the turn's calls brought so far, as tokens of the next request.
std::int64_t tool_tokens(const v1::Turn& turn);
std::size_t tool_bytes(const v1::Turn& turn);  // arguments and results

// A call as judged; never of another status than denied, requested or awaiting approval.
struct JudgedCall {
  v1::ToolCall call;
  v1::PolicyDecision decision;
};
// What a call is judged by: the tools that were offered, with settings, rules and in whose name;
// what was asked for when they were, and under which constitution.
struct CallScope {
  const ActorKey& self;
  const v1::TurnTools& tools;
  const v1::PolicyInput& asked;
  const v1::ConstitutionInForce& constitution;
  const std::string& session;  // empty: not of a session
  const std::string& model;
};
// `index`: of the call in its answer. `used`: the turn's tool bytes so far.
JudgedCall judge_call(const CallScope& scope, const v1::ModelToolCall& asked, std::uint32_t index,
                      std::size_t used, const v1::Context& context);
std::int64_t definition_bytes(const v1::TurnTools& tools);
// Denied whatever policy said, with this reason code.
void refuse_call(v1::PolicyDecision& decision, const std::string& code);

// The decision on a call that a person approved, under what is in force now.
v1::PolicyDecision judge_call_again(const ActorKey& self, const v1::SessionState& s,
                                    const v1::Turn& turn, const v1::ToolCall& call,
                                    const v1::StartTerms& terms, const v1::Context& context);

// Of the turn's model calls together, with this answer's.
v1::TokenUsage usage_with(const v1::Turn& turn, const v1::ModelAnswer& answer);
// Whether the answer asks for tools of this turn.
bool asks_for_tools(const v1::Turn& turn, const v1::ModelAnswer& answer);
SessionDecider::Decided tools_asked(const ActorKey& self, const v1::SessionState& s,
                                    const v1::ModelAnswer& answer, const v1::Context& context);
Result<SessionDecider::Decided> tool_result(const ActorKey& self, const v1::SessionState& s,
                                            const v1::SubmitToolResult& c,
                                            const v1::Context& context);
// Whether a call of the turn in progress waits for this approval.
bool tool_waits_for(const v1::SessionState& s, const std::string& approval_id);
SessionDecider::Decided tool_person_decided(const ActorKey& self, const v1::SessionState& s,
                                            const v1::SessionApprovalDecided& c,
                                            const v1::Context& context);
// The timer of results that never came; nothing where they did.
SessionDecider::Decided tools_overdue(const v1::SessionState& s, const v1::EffectOutcome& outcome,
                                      const v1::Context& context);
// Approvals of calls that nobody waits for any more.
void withdraw_calls(SessionDecider::Decided& d, const v1::SessionState& s, const v1::Turn& turn,
                    const std::string& reason);
std::vector<Effect> tool_effects(const v1::Turn& turn);

// Folds the events that concern tools alone.
void evolve_tools(v1::SessionState& s, const v1::SessionEvent& e);
void fold_tool_answer(v1::Turn& turn, const v1::ModelAnswer& answer);
void abandon_calls(v1::Turn& turn);  // at the turn's end

}  // namespace soma::actors
