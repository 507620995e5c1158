// Files to changes, changes to commands.
#include "tools/offline/what_if_changes.h"

#include <google/protobuf/util/json_util.h>

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "actors/policy/rules.h"
#include "schemas/base/sha256.h"

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

}  // namespace

Status Changes::apply(v1::SessionCommand& command, const WhatIf& w) const {
  const auto under = [&](auto& c, const std::string& action) -> Status {
    if (auto ok = overlay(*c.mutable_settings(), settings, w.settings, "--settings"); !ok)
      return ok;
    if (cedar) {
      c.mutable_rules()->set_hash(sha256_hex(*cedar));
      c.mutable_rules()->set_text(actors::rules_about(*cedar, action).value_or(*cedar));
    }
    if (!constitution) return {};
    auto& in_force = *c.mutable_constitution();
    in_force.mutable_rules()->Clear();
    in_force.mutable_rules()->set_limits_tool_categories(
        rules.contains("permitted_tool_categories"));
    in_force.set_hash(constitution_hash);
    return overlay(*in_force.mutable_rules(), rules, w.constitution, "--constitution");
  };
  const auto put = [&](auto& c) -> Status {
    if (auto ok = overlay(*c.mutable_policy(), policy, w.policy, "--policy"); !ok) return ok;
    return under(c, c.policy().action_id());
  };
  if (command.has_start_session()) {
    if (!model.empty()) command.mutable_start_session()->set_model(model);
    return put(*command.mutable_start_session());
  }
  if (command.has_approval_decided() && command.approval_decided().has_terms())
    return under(*command.mutable_approval_decided()->mutable_terms(), "session.turn");
  return command.has_send_message() ? put(*command.mutable_send_message()) : Status{};
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

}  // namespace soma::cli
