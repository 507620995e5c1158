// The journal's record of one session, decided again under other rules.
#include "runtime/api/what_if.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "events/log.h"
#include "runtime/api/actors.h"
#include "runtime/api/queue.h"
#include "runtime/api/views.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

// Of one request.
constexpr std::size_t kMostEntries = 20'000;
constexpr std::size_t kMostBytes = 32 << 20;
constexpr std::int64_t kMostMs = 10'000;
constexpr std::size_t kPage = 64;  // frames

bool is_of(const v1::Entry& e, const ActorKey& key) {
  return e.actor().id() == key.id && e.actor().type() == key.type &&
         e.actor().tenant() == key.tenant;
}

Error too_large(const std::string& what) {
  return {Code::kTooLarge,
          "the session " + what + "; `soma session what-if` on the node's folder has no such limit",
          {}};
}

Result<SessionRecord> record_of(const Node& node, const ActorKey& key) {
  auto first = node.host->history(key, Sequence{0}, 1);
  if (!first) return tl::unexpected(first.error());
  if (first->empty()) return fail(Code::kNotFound, "Session not found");
  SessionRecord out{key, {}};
  const std::int64_t until = node.clock->steady_ms() + kMostMs;
  const PartitionId partition = first->front().position.partition;
  const Offset end = node.log->end(partition);  // as it stands now
  std::size_t bytes = 0;
  for (Offset at = first->front().position.offset; at < end;) {
    Offset next;
    auto page = node.journal->page(
        partition, at, kPage,
        [&](const events::ValidFrame& f) {
          return std::any_of(f.frame->entries().begin(), f.frame->entries().end(),
                             [&](const v1::Entry& e) { return is_of(e, key); });
        },
        next);
    if (!page) return tl::unexpected(page.error());
    for (const auto& f : *page)
      for (const auto& e : f.frame->entries()) {
        if (!is_of(e, key) || f.position.offset >= end) continue;
        out.entries.push_back(e);
        bytes += e.ByteSizeLong();
      }
    if (out.entries.size() > kMostEntries)
      return tl::unexpected(too_large("has over 20000 commands"));
    if (bytes > kMostBytes) return tl::unexpected(too_large("takes over 32 MiB of the journal"));
    if (node.clock->steady_ms() > until)
      return tl::unexpected(too_large("could not be read within 10 s"));
    if (next <= at) break;
    at = next;
  }
  return out;
}

Otherwise::Source source(const char* name) {
  return {std::string("what_if.") + name, std::string("body.what_if.") + name};
}

Result<Otherwise> otherwise_of(const json::value& what_if) {
  const auto& given = what_if.get_object();
  Otherwise out;
  out.set_model(text_member(what_if, "model"));
  const auto* live = given.if_contains("live");
  if (live && live->is_bool() && live->get_bool())
    return fail(Code::kInvalidArgument,
                "what_if.live must be false: over HTTP a model is called by sessions alone, with "
                "their budget "
                "and record; `soma session what-if --live` calls one under --budget-tokens",
                "body.what_if.live");
  Status ok;
  if (const auto* policy = given.if_contains("policy"); policy && !policy->is_null()) {
    if (const auto* fields = policy->if_object())
      ok = out.set_policy(source("policy"), *fields);
    else if (policy->is_string())
      ok = out.set_policy(source("policy"), std::string_view(policy->get_string()));
    else
      ok = fail(Code::kInvalidArgument, "what_if.policy must be an object, or Cedar rules as text",
                "body.what_if.policy");
  }
  if (!ok) return tl::unexpected(ok.error());
  if (const auto* v = given.if_contains("settings"); v && v->is_object())
    ok = out.set_settings(source("settings"), v->get_object());
  if (!ok) return tl::unexpected(ok.error());
  if (const auto* v = given.if_contains("constitution"); v && v->is_object())
    ok = out.set_constitution(source("constitution"), v->get_object());
  if (!ok) return tl::unexpected(ok.error());
  if (out.nothing())
    return fail(Code::kInvalidArgument,
                "what_if must say what is otherwise: policy, model, constitution or settings",
                "body.what_if");
  return out;
}

}  // namespace

json::object what_if_json(const std::string& session, const WhatIf& w,
                          const v1::SessionState& recorded, const v1::SessionState& other) {
  json::object out{{"session", session},          {"simulated", true}, {"diverges", w.diverges},
                   {"commands_reused", w.reused}, {"at", nullptr},     {"live", nullptr}};
  if (w.diverges)
    out["at"] = json::object{
        {"command", w.command}, {"sequence", w.sequence}, {"recorded", w.then}, {"what_if", w.now}};
  out["recorded"] = views::session(recorded);
  out["what_if"] = views::session(other);
  return out;
}

http::Field what_if_field() {
  return {.name = "what_if",
          .type = FieldType::kObject,
          .description = "Of a session: decide its record again with these in place of its own",
          .nullable = true,
          .schema = http::make_schema(
              "WhatIf", {{.name = "policy",
                          .type = FieldType::kAny,
                          .description = "Fields of the policy's input, or rules in Cedar as text"},
                         {.name = "model", .max_length = 200, .nullable = true},
                         {.name = "constitution",
                          .type = FieldType::kObject,
                          .description = "A bundle, a document, or its rules",
                          .nullable = true},
                         {.name = "settings",
                          .type = FieldType::kObject,
                          .description = "Fields of the tenant's settings",
                          .nullable = true},
                         {.name = "live",
                          .type = FieldType::kBool,
                          .description = "Only false: nothing is called",
                          .nullable = true}})};
}

void replay_otherwise(const Node& node, Queue& queue, const RequestPtr& r,
                      const Responder& responder, const std::string& id) {
  auto otherwise = otherwise_of(r->json.at("what_if"));
  if (!otherwise) return responder.fail(otherwise.error());
  queue.post(
      responder, r->tenant(),
      [&node, r, responder, id, o = std::make_shared<const Otherwise>(std::move(*otherwise))] {
        auto key = find_actor(node, r->tenant(), "session", id);
        if (!key) return responder.send(problem_of(key.error()));
        if (!*key) return responder.fail({Code::kNotFound, "Session not found", {}});
        auto record = record_of(node, **key);
        if (!record) return responder.send(problem_of(record.error()));
        auto w = decide_otherwise(*node.catalog->find("session"), *record, *o);
        if (!w) return responder.send(problem_of(w.error()));
        responder.send(http::json_response(
            200, what_if_json(id, *w, static_cast<const v1::SessionState&>(*w->recorded),
                              static_cast<const v1::SessionState&>(*w->simulated))));
      });
}

}  // namespace soma::runtime::api
