// A session decided again, and how it goes on when the model is really called.
#include "tools/offline/what_if.h"

#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>

#include "actors/actor_type.h"
#include "events/frames.h"
#include "runtime/api/what_if.h"
#include "schemas/json/json_read.h"
#include "schemas/json/json_view.h"
#include "soma/v1/session.pb.h"
#include "tools/offline/export.h"
#include "tools/offline/folder.h"
#include "tools/offline/live_course.h"
#include "tools/offline/live_model.h"
#include "tools/term/diff.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

using runtime::Otherwise;
using runtime::SessionRecord;

Result<std::string> file_text(const std::string& path, const char* flag) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return soma::fail(Code::kNotFound, "cannot read " + path, flag);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

Result<json::object> file_object(const std::string& path, const char* flag) {
  auto text = file_text(path, flag);
  if (!text) return tl::unexpected(text.error());
  auto o = read_json_object(*text);
  if (!o) return soma::fail(Code::kInvalidArgument, path + " is " + o.error().message, flag);
  return o;
}

// kNotFound, kInvalidArgument: with the flag.
Result<Otherwise> read_otherwise(const WhatIf& w) {
  Otherwise out;
  out.set_model(w.model);
  if (!w.policy.empty()) {
    auto text = file_text(w.policy, "--policy");
    if (!text) return tl::unexpected(text.error());
    if (auto ok = out.set_policy({w.policy, "--policy"}, std::string_view(*text)); !ok)
      return tl::unexpected(ok.error());
  }
  if (!w.settings.empty()) {
    auto fields = file_object(w.settings, "--settings");
    if (!fields) return tl::unexpected(fields.error());
    if (auto ok = out.set_settings({w.settings, "--settings"}, std::move(*fields)); !ok)
      return tl::unexpected(ok.error());
  }
  if (!w.constitution.empty()) {
    auto document = file_object(w.constitution, "--constitution");
    if (!document) return tl::unexpected(document.error());
    if (auto ok = out.set_constitution({w.constitution, "--constitution"}, std::move(*document));
        !ok)
      return tl::unexpected(ok.error());
  }
  return out;
}

Result<SessionRecord> record_of(const events::Log& log, const std::string& id) {
  SessionRecord out;
  const auto take = [&](const events::ValidFrame& frame) -> Result<bool> {
    for (const auto& e : frame.frame->entries()) {
      if (e.actor().type() != "session" || e.actor().id() != id) continue;
      const ActorKey key = actors::to_key(e.actor());
      if (out.entries.empty()) out.key = key;
      if (key.tenant != out.key.tenant)
        return soma::fail(Code::kConflict, "two tenants have a session " + id);
      out.entries.push_back(e);
    }
    return true;
  };
  if (auto ok = events::each_frame(log, take); !ok) return tl::unexpected(ok.error());
  if (out.entries.empty()) return soma::fail(Code::kNotFound, "there is no session " + id);
  return out;
}

// What is recorded of the session in the end, and what it was given from outside.
struct Past {
  std::unique_ptr<actors::Message> state;
  LiveCourse::Record record;
};

Past past_of(const actors::ActorType& type, const SessionRecord& recorded) {
  Past out{type.new_state(), {}};
  for (const auto& entry : recorded.entries) {
    v1::SessionCommand command;
    if (command.ParseFromString(entry.command()) && command.has_effect_outcome())
      for (const auto& e : type.effects(recorded.key, *out.state))
        if (e.effect_id == command.effect_outcome().effect_id() &&
            command.effect_outcome().has_result())
          out.record.recalls[e.request] = command.effect_outcome().result();
    for (const auto& e : entry.events())
      if (auto event = type.new_event(); event->ParseFromString(e.payload()))
        type.evolve(*out.state, *event);
  }
  for (const auto& turn : static_cast<const v1::SessionState&>(*out.state).turns())
    for (const auto& round : turn.tool_rounds())
      for (const auto& call : round.calls()) {
        if (call.status() != v1::CALL_ANSWERED) continue;
        auto& result = out.record.results[{call.name(), call.arguments()}];
        result.set_output(call.output());
        result.set_is_error(call.is_error());
      }
  return out;
}

// What comes from people; the rest of a session's commands answers what it asked for. An approval
// was given to the action as recorded, and to no other.
bool by_client(const v1::SessionCommand& c) {
  return c.has_start_session() || c.has_send_message() || c.has_cancel_session() ||
         c.has_complete_session() || c.has_fork_session() || c.has_edit_turn();
}

struct Live {
  v1::SessionState state;
  LiveReport report;
  std::int64_t budget_tokens = 0;
};

// The course from the step at which they parted, of which `rest` are the later entries.
Result<Live> live_course(const SessionRecord& recorded, runtime::WhatIf& parted,
                         const Otherwise& otherwise, const WhatIf& w, LiveCourse::Record record) {
  auto settings = runtime::config::load_config(w.model_settings);
  if (!settings) return tl::unexpected(settings.error());
  LiveModel model(std::move(*settings));
  const std::int64_t budget = w.budget_tokens.value_or(WhatIf::kDefaultBudgetTokens);
  LiveCourse course(recorded.key, static_cast<const v1::SessionState&>(*parted.simulated), budget,
                    std::move(record), [&](const auto& request) { return model.ask(request); });
  course.go_on(std::move(parted.sends), recorded.entries[parted.at].context());
  for (std::size_t i = parted.at + 1; i < recorded.entries.size() && !course.ended(); ++i) {
    const v1::Entry& entry = recorded.entries[i];
    v1::SessionCommand command;
    if (!entry.parked().empty() || !command.ParseFromString(entry.command()) ||
        !by_client(command) || !entry.rejected().empty())
      continue;
    if (auto ok = otherwise.apply(command); !ok) return tl::unexpected(ok.error());
    course.tell(command, entry.context());
  }
  const LiveReport& report = course.report();
  if (!report.failed) return Live{course.state(), report, budget};
  Error e = report.failure;
  if (!report.calls.empty())
    e.message += "; " + std::to_string(report.calls.size()) + " calls went out, for at most " +
                 std::to_string(report.tokens_used) + " tokens";
  return tl::unexpected(std::move(e));
}

json::object json_of_live(const Live& live) {
  const LiveReport& r = live.report;
  json::array calls, refused, events;
  for (const auto& c : r.calls)
    calls.push_back(
        json::object{{"turn", c.turn},
                     {"attempt", c.attempt},
                     {"asked", c.asked},
                     {"model", c.model},
                     {"provider", c.provider},
                     {"finish_reason", c.finish_reason},
                     {"prompt_tokens", c.usage.prompt_tokens()},
                     {"completion_tokens", c.usage.completion_tokens()},
                     {"estimated", c.usage.estimated()},
                     {"latency_ms", c.latency_ms},
                     {"error", c.error.empty() ? json::value(nullptr) : json::value(c.error)}});
  for (const auto& c : r.refused)
    refused.push_back(json::object{{"command", c.command}, {"message", c.message}});
  for (const auto& e : r.events) events.emplace_back(e);
  return {{"budget_tokens", live.budget_tokens}, {"tokens_used", r.tokens_used},
          {"budget_ended", r.budget_ended},      {"calls", std::move(calls)},
          {"events", std::move(events)},         {"refused", std::move(refused)},
          {"recalls_unknown", r.recalls_unknown}};
}

void print_live(const Live& live) {
  const LiveReport& r = live.report;
  std::cout << "live from there: " << r.calls.size()
            << (r.calls.size() == 1 ? " call, " : " calls, ") << r.tokens_used << " of "
            << live.budget_tokens << " tokens\n";
  for (const auto& c : r.calls)
    std::cout << "  turn " << c.turn << ", attempt " << c.attempt << ": "
              << (c.error.empty()
                      ? c.model + " (" + c.provider + ") in " + std::to_string(c.latency_ms) +
                            " ms, ended with " + c.finish_reason
                      : c.error)
              << "\n";
  for (const auto& c : r.refused)
    std::cout << "  does not apply: " << c.command << ": " << c.message << "\n";
  if (r.recalls_unknown > 0)
    std::cout << "  without memories: the record does not say what was recalled\n";
}

int shown(const Context& c, const WhatIf& asked, const runtime::WhatIf& w,
          const actors::Message& past, const std::optional<Live>& live) {
  const auto& recorded = static_cast<const v1::SessionState&>(past);
  const auto& other = live ? live->state : static_cast<const v1::SessionState&>(*w.simulated);
  json::object out = runtime::api::what_if_json(asked.session, w, recorded, other);
  if (live) {
    out["simulated"] = false;
    out["live"] = json_of_live(*live);
  }
  if (!c.table()) {
    c.print(out);
  } else {
    if (!w.diverges)
      std::cout << "the same course: all " << w.reused
                << " commands give what they gave; nothing was called\n";
    else
      std::cout << "parts at " << w.command << ", sequence " << w.sequence << ", after " << w.reused
                << (live ? " commands alike" : " commands alike; nothing was called")
                << "\n  recorded  " << json::serialize(w.then) << "\n  what if   "
                << json::serialize(w.now) << "\n";
    if (live) print_live(*live);
    c.print_list(diff(json_of(recorded), json_of(other)), {"change", "path", "from", "to"});
  }
  if (!live || !live->report.budget_ended) return 0;
  c.note("the budget ended it; give more with --budget-tokens N");
  return exit_code_of(Code::kBudgetExhausted);
}

// Of an error of the live course.
std::string live_hint(const Error& e) {
  switch (e.code) {
    case Code::kNotFound:
    case Code::kModelUnavailable:
    case Code::kUnavailable:
    case Code::kDeadlineExceeded:
      return "name another server with --slm-openai-base-url URL, or a model of this machine with "
             "--slm-local FILE.gguf";
    default:
      return {};
  }
}

}  // namespace

int what_if(const Context& c, const WhatIf& w) {
  if (w.policy.empty() && w.model.empty() && w.constitution.empty() && w.settings.empty())
    return c.fail({Code::kInvalidArgument, "nothing is to be otherwise", "--policy"},
                  "give --policy, --model, --constitution or --settings");
  if (w.budget_tokens && !w.live)
    return c.fail(
        {Code::kInvalidArgument, "nothing is called, so nothing needs a budget", "--budget-tokens"},
        "give --live too");
  auto otherwise = read_otherwise(w);
  if (!otherwise) return c.fail(otherwise.error());
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  auto recorded = record_of(**log, w.session);
  if (!recorded) return c.fail(recorded.error());
  const auto catalog = actors::standard_catalog();
  const auto& type = *catalog->find("session");
  auto course = runtime::decide_otherwise(type, *recorded, *otherwise);
  if (!course) return c.fail(course.error());
  if (!w.live || !course->diverges) return shown(c, w, *course, *course->recorded, {});
  Past past = past_of(type, *recorded);
  auto live = live_course(*recorded, *course, *otherwise, w, std::move(past.record));
  if (!live) return c.fail(live.error(), live_hint(live.error()));
  return shown(c, w, *course, *past.state, std::move(*live));
}

}  // namespace soma::cli
