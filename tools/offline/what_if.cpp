// Two folds of one session, in step until they part.
#include "tools/offline/what_if.h"

#include <boost/json.hpp>
#include <iostream>
#include <optional>

#include "actors/actor_type.h"
#include "events/frames.h"
#include "runtime/api/views.h"
#include "schemas/json/json_view.h"
#include "soma/v1/session.pb.h"
#include "tools/offline/export.h"
#include "tools/offline/folder.h"
#include "tools/offline/live_course.h"
#include "tools/offline/live_model.h"
#include "tools/offline/what_if_changes.h"
#include "tools/term/diff.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Recorded {
  ActorKey key;
  std::vector<v1::Entry> entries;
};

Result<Recorded> entries_of(const events::Log& log, const std::string& id) {
  Recorded out;
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

// What a session asks of the outside: sends, effects. The same wishes, the same results apply.
using Wishes = std::vector<std::string>;
Wishes effects_of(const actors::ActorType& type, const ActorKey& key, const actors::Message& s) {
  Wishes out;
  for (const auto& e : type.effects(key, s))
    out.push_back(e.effect_id + "\n" + e.request + "\n" + std::to_string(e.attempt));
  return out;
}

class Simulation {
 public:
  Simulation(const actors::ActorType& type, ActorKey key)
      : type_(type),
        key_(std::move(key)),
        recorded(type.new_state()),
        simulated(type.new_state()) {}

  // False: they have parted, or the changes cannot be applied (`problem`).
  bool step(const v1::Entry& entry, const Changes& changes, const WhatIf& w) {
    v1::SessionCommand command;
    if (!entry.parked().empty() || !command.ParseFromString(entry.command())) return true;
    kind = std::string(command.GetDescriptor()->FindFieldByNumber(command.kind_case())->name());
    problem = changes.apply(command, w);
    if (!problem) return false;
    then = now = {};
    Wishes sent_then, sent_now;
    for (const auto& e : entry.events()) {
      auto event = type_.new_event();
      if (!event->ParseFromString(e.payload())) continue;
      type_.evolve(*recorded, *event);
      then.emplace_back(e.type());
      sequence = e.sequence();
    }
    sends.clear();
    for (const auto& s : entry.sends())
      sent_then.push_back(to_string(actors::to_key(s.to())) + "\n" + s.command());
    auto made = type_.decide(key_, *simulated, command, entry.context());
    if (made) {
      for (const auto& e : made->events) {
        type_.evolve(*simulated, *e);
        now.emplace_back(type_.event_type(*e));
      }
      for (const auto& s : made->sends) sent_now.push_back(to_string(s.to) + "\n" + s.command);
      sends = std::move(made->sends);
    } else if (entry.rejected().empty()) {
      now.emplace_back("refused: " + made.error().message);
    }
    const bool same = then == now && sent_then == sent_now &&
                      effects_of(type_, key_, *recorded) == effects_of(type_, key_, *simulated);
    if (same) ++reused;
    return same;
  }

 private:
  const actors::ActorType& type_;
  const ActorKey key_;

 public:
  std::unique_ptr<actors::Message> recorded, simulated;
  Status problem;
  std::string kind;
  json::array then, now;
  std::vector<actors::OutSend> sends;  // simulated, of the last step
  std::uint64_t sequence = 0, reused = 0;
};

// What is recorded of the session in the end, and what it was given from outside.
struct Past {
  std::unique_ptr<actors::Message> state;
  LiveCourse::Record record;
};

Past past_of(const actors::ActorType& type, const Recorded& recorded) {
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
Result<Live> live_course(const Recorded& recorded, std::size_t parted_at, Simulation& s,
                         const Changes& changes, const WhatIf& w, LiveCourse::Record record) {
  auto settings = runtime::config::load_config(w.model_settings);
  if (!settings) return tl::unexpected(settings.error());
  LiveModel model(std::move(*settings));
  const std::int64_t budget = w.budget_tokens.value_or(WhatIf::kDefaultBudgetTokens);
  LiveCourse course(recorded.key, static_cast<const v1::SessionState&>(*s.simulated), budget,
                    std::move(record), [&](const auto& request) { return model.ask(request); });
  course.go_on(std::move(s.sends), recorded.entries[parted_at].context());
  for (std::size_t i = parted_at + 1; i < recorded.entries.size() && !course.ended(); ++i) {
    const v1::Entry& entry = recorded.entries[i];
    v1::SessionCommand command;
    if (!entry.parked().empty() || !command.ParseFromString(entry.command()) ||
        !by_client(command) || !entry.rejected().empty())
      continue;
    if (auto ok = changes.apply(command, w); !ok) return tl::unexpected(ok.error());
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

int shown(const Context& c, const WhatIf& w, const Simulation& s, bool parted,
          const actors::Message& past, const std::optional<Live>& live) {
  const auto view = [](const actors::Message& state) {
    return runtime::views::session(static_cast<const v1::SessionState&>(state));
  };
  const actors::Message& other =
      live ? static_cast<const actors::Message&>(live->state) : *s.simulated;
  json::object out{{"session", w.session},        {"simulated", !live}, {"diverges", parted},
                   {"commands_reused", s.reused}, {"at", nullptr},      {"live", nullptr}};
  if (parted)
    out["at"] = json::object{
        {"command", s.kind}, {"sequence", s.sequence}, {"recorded", s.then}, {"what_if", s.now}};
  if (live) out["live"] = json_of_live(*live);
  out["recorded"] = view(past);
  out["what_if"] = view(other);
  if (!c.table()) {
    c.print(out);
  } else {
    if (!parted)
      std::cout << "the same course: all " << s.reused
                << " commands give what they gave; nothing was called\n";
    else
      std::cout << "parts at " << s.kind << ", sequence " << s.sequence << ", after " << s.reused
                << (live ? " commands alike" : " commands alike; nothing was called")
                << "\n  recorded  " << json::serialize(s.then) << "\n  what if   "
                << json::serialize(s.now) << "\n";
    if (live) print_live(*live);
    c.print_list(diff(json_of(past), json_of(other)), {"change", "path", "from", "to"});
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
  auto changes = read_changes(w);
  if (!changes) return c.fail(changes.error());
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  auto recorded = entries_of(**log, w.session);
  if (!recorded) return c.fail(recorded.error());
  const auto catalog = actors::standard_catalog();
  const auto& type = *catalog->find("session");
  Simulation simulation(type, recorded->key);
  std::size_t at = 0;
  while (at < recorded->entries.size() && simulation.step(recorded->entries[at], *changes, w)) ++at;
  if (!simulation.problem) return c.fail(simulation.problem.error());
  const bool parted = at < recorded->entries.size();
  if (!w.live || !parted) return shown(c, w, simulation, parted, *simulation.recorded, {});
  Past past = past_of(type, *recorded);
  auto live = live_course(*recorded, at, simulation, *changes, w, std::move(past.record));
  if (!live) return c.fail(live.error(), live_hint(live.error()));
  return shown(c, w, simulation, true, *past.state, std::move(*live));
}

}  // namespace soma::cli
