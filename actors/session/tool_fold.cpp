// What the events of tools make of a session.
#include "actors/session/tools.h"
#include "schemas/base/cut_text.h"

namespace soma::actors {

namespace {

v1::Turn* last_turn(v1::SessionState& s) {
  return s.turns_size() == 0 ? nullptr : s.mutable_turns(s.turns_size() - 1);
}

v1::ToolCall* find_call(v1::Turn& t, const std::string& call_id) {
  for (auto& round : *t.mutable_tool_rounds())
    for (auto& call : *round.mutable_calls())
      if (call.call_id() == call_id) return &call;
  return nullptr;
}

void put(v1::Turn& t, const v1::ToolCall& call) {
  if (auto* known = find_call(t, call.call_id()))
    *known = call;
  else if (t.tool_rounds_size() > 0)
    *t.mutable_tool_rounds(t.tool_rounds_size() - 1)->add_calls() = call;
}

}  // namespace

void fold_tool_answer(v1::Turn& t, const v1::ModelAnswer& answer) {
  t.add_tool_rounds()->set_said(cut_text(answer.output(), kMaxSaidBytes));
  t.set_stage(v1::AWAITING_TOOLS);
  t.clear_call_id();
  t.clear_reservation_id();
  t.clear_reserved_tokens();
}

void abandon_calls(v1::Turn& t) {
  t.clear_tools();
  for (auto& round : *t.mutable_tool_rounds())
    for (auto& call : *round.mutable_calls())
      if (call.status() == v1::CALL_REQUESTED || call.status() == v1::CALL_AWAITS_APPROVAL)
        call.set_status(v1::CALL_ABANDONED);
}

void evolve_tools(v1::SessionState& s, const v1::SessionEvent& e) {
  auto* t = last_turn(s);
  if (!t) return;
  if (e.has_tool_call_requested()) {
    put(*t, e.tool_call_requested().call());
    s.set_updated_ms(e.tool_call_requested().at_ms());
  } else if (e.has_tool_call_denied()) {
    put(*t, e.tool_call_denied().call());
    s.set_updated_ms(e.tool_call_denied().at_ms());
  } else if (e.has_tool_approval_requested()) {
    put(*t, e.tool_approval_requested().call());
    s.set_updated_ms(e.tool_approval_requested().at_ms());
  } else if (e.has_tool_call_answered()) {
    if (auto* call = find_call(*t, e.tool_call_answered().call_id())) {
      call->set_status(v1::CALL_ANSWERED);
      call->set_output(e.tool_call_answered().output());
      call->set_is_error(e.tool_call_answered().is_error());
    }
    s.set_updated_ms(e.tool_call_answered().at_ms());
  } else if (e.has_tools_awaited()) {
    if (t->tool_rounds_size() > 0)
      t->mutable_tool_rounds(t->tool_rounds_size() - 1)
          ->set_deadline_ms(e.tools_awaited().deadline_ms());
    s.set_status(e.tools_awaited().status());
    s.set_updated_ms(e.tools_awaited().at_ms());
  } else if (e.has_tools_settled()) {
    s.set_status(v1::RUNNING);
    s.set_updated_ms(e.tools_settled().at_ms());
  }
}

}  // namespace soma::actors
