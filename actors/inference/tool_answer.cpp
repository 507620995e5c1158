// The same judgement as a session's calls get (actors/session/tools.h).
#include "actors/inference/tool_answer.h"

#include "actors/session/tools.h"

namespace soma::actors {

namespace {

void deny_what_waits(JudgedCall& judged) {
  if (judged.call.status() != v1::CALL_AWAITS_APPROVAL) return;
  judged.call.set_status(v1::CALL_DENIED);
  judged.call.clear_approval_id();
  judged.call.clear_action_hash();
  refuse_call(judged.decision, "approval_required");
  judged.call.mutable_denial()->set_code("approval_required");
  judged.call.mutable_denial()->set_message(
      "the call needs a person's approval, for which only a session can wait; decision " +
      judged.call.decision_id());
}

}  // namespace

std::vector<v1::ToolCall> judge_tool_calls(InferenceDecider::Decided& d, const ActorKey& self,
                                           const v1::InferenceState& s,
                                           const v1::ModelAnswer& answer,
                                           const v1::Context& context) {
  std::vector<v1::ToolCall> out;
  if (s.tools().tools().empty()) return out;
  const std::string no_session;
  const CallScope scope{self,       s.tools(),          s.decision().input(), s.constitution(),
                        no_session, s.request().model()};
  std::size_t used = 0;
  for (int i = 0; i < answer.tool_calls_size(); ++i) {
    auto judged =
        judge_call(scope, answer.tool_calls(i), static_cast<std::uint32_t>(i), used, context);
    deny_what_waits(judged);
    used += judged.call.arguments().size();
    auto* decided = d.events.emplace_back().mutable_policy_decided();
    *decided->mutable_decision() = judged.decision;
    decided->set_at_ms(context.now_ms());
    decided->set_tool_call_id(judged.call.call_id());
    out.push_back(std::move(judged.call));
  }
  return out;
}

}  // namespace soma::actors
