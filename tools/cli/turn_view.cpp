// Event by event.
#include "tools/cli/turn_view.h"

#include <boost/json.hpp>
#include <cstdio>
#include <ostream>

#include "tools/term/text.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr const char *kDim = "\x1b[2m", *kRed = "\x1b[31m", *kYellow = "\x1b[33m",
                     *kReset = "\x1b[0m";
constexpr std::size_t kShownMemories = 3;

const json::value& data_of(const json::value& event) {
  const auto* data = member(event, "data");
  return data ? *data : event;
}

std::uint64_t number(const json::value& object, std::string_view path) {
  const auto* v = member(object, path);
  if (!v) return 0;
  if (v->is_string()) return std::strtoull(v->get_string().c_str(), nullptr, 10);
  return v->is_number() ? v->to_number<std::uint64_t>() : 0;
}

std::string two_places(const json::value& object, std::string_view name) {
  const auto* v = member(object, name);
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", v && v->is_number() ? v->to_number<double>() : 0.0);
  return text;
}

}  // namespace

std::string decision_line(const json::value& d) {
  const auto* allow = member(d, "allow");
  const bool allowed = allow && allow->is_bool() && allow->get_bool();
  return std::string(allowed ? "policy allows" : "policy denies") + ": score " +
         two_places(d, "score") + (allowed ? ", at least " : ", needs ") +
         two_places(d, "threshold") + (allowed ? " is needed" : "");
}

void TurnView::line(const std::string& text, const char* colour) {
  if (!out_) return;
  end_answer();
  *out_ << (look_.colour ? colour : "") << printable(text, false) << (look_.colour ? kReset : "")
        << std::endl;
}

void TurnView::end_answer() {
  if (answering_ && out_) *out_ << std::endl;
  answering_ = false;
}

void TurnView::decided(const json::value& data) {
  const auto* d = member(data, "decision");
  if (!d) return;
  const auto* allow = member(*d, "allow");
  const bool allowed = allow && allow->is_bool() && allow->get_bool();
  json::object kept = d->is_object() ? d->get_object() : json::object{};
  kept["allow"] = allowed;
  result_["decision"] = kept;
  line("  " + decision_line(*d), allowed ? kDim : kYellow);
  if (allowed) return;
  if (const auto* reasons = member(*d, "reasons"); reasons && reasons->is_array())
    for (const auto& reason : reasons->get_array()) line("    " + cell(&reason), kYellow);
}

void TurnView::recalled(const json::value& data) {
  const auto* memories = member(data, "memories");
  const json::array none;
  const json::array& all = memories && memories->is_array() ? memories->get_array() : none;
  result_["memories"] = all.size();
  const auto* degraded = member(data, "degraded");
  if (degraded && degraded->is_bool() && degraded->get_bool())
    line("  recalled by words alone: " + text_of(data, "degraded_reason"), kYellow);
  if (all.empty()) return;
  line("  recalled " + std::to_string(all.size()) + (all.size() == 1 ? " memory" : " memories"),
       kDim);
  for (std::size_t i = 0; i < std::min(all.size(), kShownMemories); ++i)
    line("    " + two_places(all[i], "score") + "  " +
             cut(printable(text_of(all[i], "text"), false), 66),
         kDim);
  if (all.size() > kShownMemories)
    line("    and " + std::to_string(all.size() - kShownMemories) + " more", kDim);
}

bool TurnView::tool_event(std::string_view name, const json::value& data) {
  const json::value none;
  const auto* found = member(data, "call");
  const json::value& call = found ? *found : none;
  const std::string what = text_of(call, "name") + " " + cut(text_of(call, "arguments"), 60);
  if (name == "tool.call.requested") {
    const std::string by = text_of(call, "approved_by");
    line("  tool call " + text_of(call, "call_id") + " for you to run" +
             (by.empty() ? "" : ", approved by " + by) + ": " + what,
         kYellow);
  } else if (name == "tool.call.denied") {
    line("  tool call denied: " + what + ": " + text_of(call, "denial.message"), kRed);
  } else if (name == "tool.approval.requested") {
    line("  tool call waits for approval " + text_of(call, "approval_id") + ": " + what, kYellow);
  } else if (name == "tool.call.answered") {
    line("  tool result " + text_of(data, "call_id") + ": " + cut(text_of(data, "output"), 60),
         kDim);
  } else if (name == "tools.awaited") {
    waits_for_results = text_of(data, "status") == "WAITING_TOOLS";
    if (waits_for_results)
      line("  waits for results: soma session result SESSION_ID CALL_ID OUTPUT", kYellow);
  } else if (name == "tools.settled") {
    answer_.clear();  // what was said beside the calls is not the answer
    waits_for_results = false;
  } else {
    return false;
  }
  return true;
}

void TurnView::token(const json::value& event) {
  const std::string text = text_of(event, "text");
  answer_ += text;
  if (!out_) return;
  if (!answering_) *out_ << "soma> ";
  answering_ = true;
  *out_ << printable(text, true) << std::flush;
}

void TurnView::failed(const json::value& failure) {
  const std::string code = text_of(failure, "code");
  result_["error"] = json::object{{"code", code}, {"message", text_of(failure, "message")}};
  line("  failed: " + text_of(failure, "message") + " [" + code + "]", kRed);
  if (code == "model_unavailable") line("  see `soma doctor` and `soma slm models`", kRed);
  if (code == "budget_exhausted") line("  raise it with `soma tenant set --budget N`", kRed);
  if (code == "policy_denied" && result_.contains("decision"))
    line("  see `soma policy explain " + text_of(result_["decision"], "decision_id") + "`", kRed);
}

void TurnView::take(std::string_view name, const json::value& event, std::uint32_t turn) {
  if (const auto sequence = number(event, "sequence")) last_sequence = sequence;
  const json::value& data = data_of(event);
  if (name == "turn.started") {
    ours_ = turn == 0 || number(data, "turn") == turn;
    status.clear();
    answer_.clear();
    result_ = {{"turn", number(data, "turn")}, {"status", "running"}};
    if (ours_ && turn == 0) line("you>  " + text_of(data, "prompt"), "");
  }
  if (!ours_ || tool_event(name, data)) return;
  if (name == "token") {
    token(event);
  } else if (name == "policy.decided") {
    if (text_of(data, "tool_call_id").empty()) decided(data);  // a call's own comes with it
  } else if (name == "memory.recalled") {
    recalled(data);
  } else if (name == "restarted") {
    answer_.clear();
    line("  the model call began again, attempt " + std::to_string(number(event, "attempt")),
         kYellow);
  } else if (name == "turn.completed") {
    const auto used = number(data, "usage.prompt_tokens") + number(data, "usage.completion_tokens");
    result_["usage"] = json::object{{"prompt_tokens", number(data, "usage.prompt_tokens")},
                                    {"completion_tokens", number(data, "usage.completion_tokens")},
                                    {"total_tokens", used}};
    result_["answer"] = answer_;
    line("  " + std::to_string(used) + " tokens", kDim);
  } else if (name == "turn.failed" && member(data, "failure")) {
    failed(*member(data, "failure"));
  } else if (name == "session.cancelled") {
    line("  cancelled" + (text_of(data, "reason").empty() ? "" : ": " + text_of(data, "reason")),
         kYellow);
  }
  if (name == "session.completed" || name == "session.failed" || name == "session.cancelled") {
    status = name.substr(8);
    result_["status"] = status;
  }
}

}  // namespace soma::cli
