// Two folds of one session, in step until they part.
#include "runtime/verify/what_if.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <boost/json.hpp>

#include "actors/actor_type.h"
#include "actors/policy/rules.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"
#include "soma/v1/model.pb.h"

namespace soma::runtime {

namespace json = boost::json;

namespace {

// Puts the object's members in place of the message's own.
Status overlay(google::protobuf::Message& message, const json::object& members,
               const Otherwise::Source& source) {
  for (const auto& member : members) {
    const auto* field = message.GetDescriptor()->FindFieldByName(std::string(member.key()));
    if (!field)
      return fail(Code::kInvalidArgument,
                  source.name + ": there is no field `" + std::string(member.key()) + "` in " +
                      message.GetDescriptor()->name(),
                  source.field);
    message.GetReflection()->ClearField(&message, field);
  }
  const std::unique_ptr<google::protobuf::Message> given(message.New());
  const auto status =
      google::protobuf::util::JsonStringToMessage(json::serialize(members), given.get());
  if (!status.ok())
    return fail(Code::kInvalidArgument, source.name + ": " + std::string(status.message()),
                source.field);
  message.MergeFrom(*given);
  return {};
}

}  // namespace

Status Otherwise::set_policy(Source source, json::object fields) {
  policy_source_ = std::move(source);
  policy_ = std::move(fields);
  v1::PolicyInput tried;
  return overlay(tried, policy_, policy_source_);
}

Status Otherwise::set_policy(Source source, std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != text.npos && text[first] == '{') {
    auto o = read_json_object(text);
    if (!o)
      return fail(Code::kInvalidArgument, source.name + " is " + o.error().message, source.field);
    return set_policy(std::move(source), std::move(*o));
  }
  if (const auto issues = actors::check_rules(std::string(text)); !issues.empty())
    return fail(Code::kInvalidArgument, source.name + ": " + to_string(issues.front()),
                source.field);
  policy_source_ = std::move(source);
  cedar_ = std::string(text);
  return {};
}

Status Otherwise::set_settings(Source source, json::object fields) {
  settings_source_ = std::move(source);
  settings_ = std::move(fields);
  v1::TenantSettings tried;
  return overlay(tried, settings_, settings_source_);
}

Status Otherwise::set_constitution(Source source, json::object document) {
  for (const char* inner : {"document", "rules"})  // of a bundle, of a document
    if (const auto* o = document.if_contains(inner); o && o->is_object()) {
      json::object next = o->get_object();
      document = std::move(next);
    } else if (std::string_view(inner) == "rules" && document.contains("version")) {
      return fail(Code::kInvalidArgument, source.name + " holds no rules", source.field);
    }
  constitution_source_ = std::move(source);
  constitution_ = true;
  rules_ = std::move(document);
  v1::ConstitutionRules tried;
  return overlay(tried, rules_, constitution_source_);
}

bool Otherwise::nothing() const {
  return policy_.empty() && settings_.empty() && model_.empty() && !constitution_ && !cedar_;
}

template <typename C>
Status Otherwise::put(C& c) const {
  if (auto ok = overlay(*c.mutable_policy(), policy_, policy_source_); !ok) return ok;
  if (auto ok = under(c, c.policy().action_id()); !ok || !cedar_ || c.tools().tools_size() == 0)
    return ok;
  auto& of_tools = *c.mutable_tools()->mutable_rules();  // each call is judged by all of them
  of_tools.Clear();
  of_tools.set_hash(sha256_hex(*cedar_));
  of_tools.set_text(*cedar_);
  return {};
}

template <typename C>
Status Otherwise::under(C& c, const std::string& action) const {
  if (auto ok = overlay(*c.mutable_settings(), settings_, settings_source_); !ok) return ok;
  if (cedar_) {
    c.mutable_rules()->set_hash(sha256_hex(*cedar_));
    c.mutable_rules()->set_text(
        action.empty() ? *cedar_ : actors::rules_about(*cedar_, action).value_or(*cedar_));
  }
  if (!constitution_) return {};
  auto& in_force = *c.mutable_constitution();
  in_force.mutable_rules()->Clear();
  in_force.mutable_rules()->set_limits_tool_categories(
      rules_.contains("permitted_tool_categories"));
  in_force.set_hash("what-if");
  return overlay(*in_force.mutable_rules(), rules_, constitution_source_);
}

Status Otherwise::apply(v1::SessionCommand& command) const {
  if (command.has_start_session()) {
    if (!model_.empty()) command.mutable_start_session()->set_model(model_);
    return put(*command.mutable_start_session());
  }
  if (command.has_call_held()) return under(*command.mutable_call_held()->mutable_terms(), "");
  if (command.has_approval_decided() && command.approval_decided().has_terms())
    return under(*command.mutable_approval_decided()->mutable_terms(), "");
  return command.has_send_message() ? put(*command.mutable_send_message()) : Status{};
}

Status SessionRecord::whole() const {
  // What could be opened is open; sealed is what was erased, or whose keys are not here.
  if (std::none_of(entries.begin(), entries.end(),
                   [](const v1::Entry& e) { return e.sealed_size() > 0; }))
    return {};
  return fail(Code::kConflict,
              "personal data of the session was erased, or its keys are elsewhere: it cannot be "
              "decided again");
}

namespace {

// What a session asks of the outside: sends, effects. The same wishes, the same results apply.
using Wishes = std::vector<std::string>;
Wishes effects_of(const actors::ActorType& type, const ActorKey& key, const actors::Message& s) {
  Wishes out;
  for (const auto& e : type.effects(key, s))
    out.push_back(e.effect_id + "\n" + e.request + "\n" + std::to_string(e.attempt));
  return out;
}
// Under which terms a model is asked is no other wish: whether they still held when it was asked
// the record tells by itself.
std::string wish(const ActorKey& to, const std::string& command) {
  v1::ModelCommand ask;
  if (to.type == "model" && ask.ParseFromString(command) && ask.has_request_call()) {
    ask.mutable_request_call()->mutable_request()->clear_terms();
    return to_string(to) + "\n" + actors::deterministic_bytes(ask);
  }
  return to_string(to) + "\n" + command;
}

// Decides one entry on either side. False: the courses part here.
bool same(const actors::ActorType& type, const ActorKey& key, const v1::Entry& entry,
          const v1::SessionCommand& command, WhatIf& w) {
  w.then.clear();
  w.now.clear();
  w.sends.clear();
  Wishes sent_then, sent_now;
  for (const auto& e : entry.events()) {
    auto event = type.new_event();
    if (!event->ParseFromString(e.payload())) continue;
    type.evolve(*w.recorded, *event);
    w.then.emplace_back(e.type());
    w.sequence = e.sequence();
  }
  for (const auto& s : entry.sends())
    sent_then.push_back(wish(actors::to_key(s.to()), s.command()));
  auto made = type.decide(key, *w.simulated, command, entry.context());
  if (made) {
    for (const auto& e : made->events) {
      type.evolve(*w.simulated, *e);
      w.now.emplace_back(type.event_type(*e));
    }
    for (const auto& s : made->sends) sent_now.push_back(wish(s.to, s.command));
    w.sends = std::move(made->sends);
  } else if (entry.rejected().empty()) {
    w.now.emplace_back("refused: " + made.error().message);
  }
  return w.then == w.now && sent_then == sent_now &&
         effects_of(type, key, *w.recorded) == effects_of(type, key, *w.simulated);
}

}  // namespace

Result<WhatIf> decide_otherwise(const actors::ActorType& type, const SessionRecord& record,
                                const Otherwise& otherwise) {
  if (auto ok = record.whole(); !ok) return tl::unexpected(ok.error());
  WhatIf w;
  w.recorded = type.new_state();
  w.simulated = type.new_state();
  for (; w.at < record.entries.size(); ++w.at) {
    const v1::Entry& entry = record.entries[w.at];
    v1::SessionCommand command;
    if (!entry.parked().empty() || !command.ParseFromString(entry.command())) continue;
    w.command =
        std::string(command.GetDescriptor()->FindFieldByNumber(command.kind_case())->name());
    if (auto ok = otherwise.apply(command); !ok) return tl::unexpected(ok.error());
    if (!same(type, record.key, entry, command, w)) {
      w.diverges = true;
      break;
    }
    ++w.reused;
  }
  return w;
}

}  // namespace soma::runtime
