// Two folds of one session, in step until they part.
#include "tools/offline/what_if.h"

#include <google/protobuf/util/json_util.h>

#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>

#include "actors/actor_type.h"
#include "actors/policy/rules.h"
#include "events/frames.h"
#include "runtime/api/views.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_view.h"
#include "soma/v1/session.pb.h"
#include "tools/offline/export.h"
#include "tools/offline/folder.h"
#include "tools/term/diff.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

Result<std::string> file_text(const std::string& path, const char* flag) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return soma::fail(Code::kNotFound, "cannot read " + path, flag);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

Result<json::object> file_object(const std::string& path, const char* flag) {
  auto text = file_text(path, flag);
  if (!text) return tl::unexpected(text.error());
  boost::system::error_code bad;
  json::value v = json::parse(*text, bad);
  if (bad || !v.is_object())
    return soma::fail(Code::kInvalidArgument, path + " is not a JSON object", flag);
  return std::move(v.get_object());
}

// Puts the object's members in place of the message's own.
Status overlay(google::protobuf::Message& message, const json::object& members,
               const std::string& path, const char* flag) {
  for (const auto& member : members) {
    const auto* field = message.GetDescriptor()->FindFieldByName(std::string(member.key()));
    if (!field)
      return soma::fail(Code::kInvalidArgument,
                        path + ": there is no field `" + std::string(member.key()) + "` in " +
                            message.GetDescriptor()->name(),
                        flag);
    message.GetReflection()->ClearField(&message, field);
  }
  const std::unique_ptr<google::protobuf::Message> given(message.New());
  const auto status =
      google::protobuf::util::JsonStringToMessage(json::serialize(members), given.get());
  if (!status.ok())
    return soma::fail(Code::kInvalidArgument, path + ": " + std::string(status.message()), flag);
  message.MergeFrom(*given);
  return {};
}

// The changes, read once.
struct Changes {
  json::object policy, settings, rules;
  std::string model, constitution_hash;
  bool constitution = false;
  std::optional<std::string> cedar;  // policy rules in place of the recorded ones

  Status apply(v1::SessionCommand& command, const WhatIf& w) const {
    const auto put = [&](auto& c) -> Status {
      if (auto ok = overlay(*c.mutable_policy(), policy, w.policy, "--policy"); !ok) return ok;
      if (auto ok = overlay(*c.mutable_settings(), settings, w.settings, "--settings"); !ok)
        return ok;
      if (cedar) {
        c.mutable_rules()->set_hash(sha256_hex(*cedar));
        c.mutable_rules()->set_text(
            actors::rules_about(*cedar, c.policy().action_id()).value_or(*cedar));
      }
      if (!constitution) return {};
      auto& in_force = *c.mutable_constitution();
      in_force.mutable_rules()->Clear();
      in_force.mutable_rules()->set_limits_tool_categories(
          rules.contains("permitted_tool_categories"));
      in_force.set_hash(constitution_hash);
      return overlay(*in_force.mutable_rules(), rules, w.constitution, "--constitution");
    };
    if (command.has_start_session()) {
      if (!model.empty()) command.mutable_start_session()->set_model(model);
      return put(*command.mutable_start_session());
    }
    return command.has_send_message() ? put(*command.mutable_send_message()) : Status{};
  }
};

// Fields of the input as a JSON object, or rules in Cedar.
Status read_policy(const WhatIf& w, Changes& out) {
  if (w.policy.empty()) return {};
  auto text = file_text(w.policy, "--policy");
  if (!text) return tl::unexpected(text.error());
  const auto first = text->find_first_not_of(" \t\r\n");
  if (first != text->npos && (*text)[first] == '{') {
    auto o = file_object(w.policy, "--policy");
    if (!o) return tl::unexpected(o.error());
    out.policy = std::move(*o);
    return {};
  }
  if (const auto issues = actors::check_rules(*text); !issues.empty())
    return soma::fail(Code::kInvalidArgument, w.policy + ": " + to_string(issues.front()),
                      "--policy");
  out.cedar = std::move(*text);
  return {};
}

Result<Changes> read_changes(const WhatIf& w) {
  Changes out;
  out.model = w.model;
  const auto read = [](const std::string& path, const char* flag, json::object& into) -> Status {
    if (path.empty()) return {};
    auto o = file_object(path, flag);
    if (!o) return tl::unexpected(o.error());
    into = std::move(*o);
    return {};
  };
  json::object document;
  auto policy = read_policy(w, out);
  for (auto ok : {policy, read(w.settings, "--settings", out.settings),
                  read(w.constitution, "--constitution", document)})
    if (!ok) return tl::unexpected(ok.error());
  out.constitution = !w.constitution.empty();
  for (const char* inner : {"document", "rules"})  // of a bundle, of a document
    if (const auto* o = document.if_contains(inner); o && o->is_object()) {
      json::object next = o->get_object();
      document = std::move(next);
    } else if (out.constitution && std::string(inner) == "rules" && document.contains("version")) {
      return soma::fail(Code::kInvalidArgument, w.constitution + " holds no rules",
                        "--constitution");
    }
  out.rules = std::move(document);
  out.constitution_hash = out.constitution ? "what-if" : "";
  return out;
}

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
    for (const auto& s : entry.sends())
      sent_then.push_back(to_string(actors::to_key(s.to())) + "\n" + s.command());
    auto made = type_.decide(key_, *simulated, command, entry.context());
    if (made) {
      for (const auto& e : made->events) {
        type_.evolve(*simulated, *e);
        now.emplace_back(type_.event_type(*e));
      }
      for (const auto& s : made->sends) sent_now.push_back(to_string(s.to) + "\n" + s.command);
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
  std::uint64_t sequence = 0, reused = 0;
};

int shown(const Context& c, const WhatIf& w, const Simulation& s, bool parted) {
  const auto view = [](const actors::Message& state) {
    return runtime::views::session(static_cast<const v1::SessionState&>(state));
  };
  json::object out{{"session", w.session},
                   {"simulated", true},
                   {"diverges", parted},
                   {"commands_reused", s.reused},
                   {"at", nullptr}};
  if (parted)
    out["at"] = json::object{
        {"command", s.kind}, {"sequence", s.sequence}, {"recorded", s.then}, {"what_if", s.now}};
  const json::value recorded = json_of(*s.recorded), simulated = json_of(*s.simulated);
  out["recorded"] = view(*s.recorded);
  out["what_if"] = view(*s.simulated);
  if (!c.table()) {
    c.print(out);
    return 0;
  }
  if (!parted) {
    std::cout << "the same course: all " << s.reused << " commands give what they gave\n";
  } else {
    std::cout << "parts at " << s.kind << ", sequence " << s.sequence << ", after " << s.reused
              << " commands alike; nothing was called\n  recorded  " << json::serialize(s.then)
              << "\n  what if   " << json::serialize(s.now) << "\n";
  }
  c.print_list(diff(recorded, simulated), {"change", "path", "from", "to"});
  return 0;
}

}  // namespace

int what_if(const Context& c, const WhatIf& w) {
  if (w.policy.empty() && w.model.empty() && w.constitution.empty() && w.settings.empty())
    return c.fail({Code::kInvalidArgument, "nothing is to be otherwise", "--policy"},
                  "give --policy, --model, --constitution or --settings");
  auto changes = read_changes(w);
  if (!changes) return c.fail(changes.error());
  auto log = c.kafka.empty() ? offline::open_log(c.folder())
                             : offline::open_cluster(c.kafka, c.kafka_topic_prefix);
  if (!log) return c.fail(log.error());
  auto recorded = entries_of(**log, w.session);
  if (!recorded) return c.fail(recorded.error());
  const auto catalog = actors::standard_catalog();
  Simulation simulation(*catalog->find("session"), recorded->key);
  bool parted = false;
  for (const auto& entry : recorded->entries) {
    parted = !simulation.step(entry, *changes, w);
    if (parted) break;
  }
  if (!simulation.problem) return c.fail(simulation.problem.error());
  return shown(c, w, simulation, parted);
}

}  // namespace soma::cli
