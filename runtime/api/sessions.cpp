// Sessions: start, speak, read, list, follow, cancel, complete.
#include <boost/json/array.hpp>

#include "projections/projections.h"
#include "runtime/api/actors.h"
#include "runtime/api/governed.h"
#include "runtime/api/new_session.h"
#include "runtime/api/session_stream.h"
#include "runtime/api/session_tools.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Field;
using http::FieldType;
using http::Responder;

namespace {

constexpr std::int64_t kListDefault = 50;

ActorKey session_key(const http::Request& r) { return {r.tenant(), "session", r.param("id"), {}}; }

http::Response accepted_session(const Accepted& a) {
  v1::SessionReply reply;
  reply.ParseFromString(a.reply);
  return http::json_response(
      202, json::object{
               {"session_id", reply.session_id()}, {"status", "accepted"}, {"turn", reply.turn()}});
}

void start(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (killed(node, responder)) return;
  auto policy = policy_input(*r, "session.turn", "session:start");
  if (!policy) return responder.fail(policy.error());
  const auto role = chat_role(*r);
  if (!role) return responder.fail(role.error());
  with_governance(node, r, *role, responder, [&node, r, responder, policy](Governance governance) {
    v1::SessionCommand command;
    auto* c = command.mutable_start_session();
    const auto& body = r->json.get_object();
    if (const std::string tenant = text_member(body, "tenant");
        !tenant.empty() && tenant != r->tenant())
      return responder.fail({Code::kForbidden, "tenant must be that of the token", "body.tenant"});
    c->set_user(text_member(body, "user").empty() ? r->principal.subject()
                                                  : text_member(body, "user"));
    c->set_prompt(text_member(body, "prompt"));
    c->set_persona(text_member(body, "persona"));
    c->set_model(text_member(body, "model"));
    c->set_capsule_id(text_member(body, "capsule_id"));
    if (const auto* metadata = body.if_contains("metadata"); metadata && metadata->is_object())
      for (const auto& [k, v] : metadata->get_object())
        (*c->mutable_metadata())[std::string(k)] =
            v.is_string() ? std::string(v.get_string()) : json_text(v);
    if (auto tools = tools_of(*r, governance); !tools.tools().empty())
      *c->mutable_tools() = std::move(tools);
    *c->mutable_settings() = std::move(governance.settings);
    *c->mutable_constitution() = std::move(governance.constitution);
    *c->mutable_models() = std::move(governance.models);
    *c->mutable_policy() = *policy;
    *c->mutable_rules() = rules_for(governance.rules, c->policy().action_id());
    const std::string id = command_id_of(*r);
    submit(
        node, r, responder,
        make_submission(*r, {r->tenant(), "session", created_id("ses", *r, id), {}}, command, id),
        accepted_session);
  });
}

void send_message(const Node& node, const RequestPtr& r, const Responder& responder) {
  auto policy = policy_input(*r, "session.turn", "session:start");
  if (!policy) return responder.fail(policy.error());
  const auto role = chat_role(*r);
  if (!role) return responder.fail(role.error());
  with_governance(node, r, *role, responder, [&node, r, responder, policy](Governance governance) {
    v1::SessionCommand command;
    auto* c = command.mutable_send_message();
    c->set_content(text_member(r->json, "content"));
    if (auto tools = tools_of(*r, governance); !tools.tools().empty())
      *c->mutable_tools() = std::move(tools);
    *c->mutable_settings() = std::move(governance.settings);
    *c->mutable_constitution() = std::move(governance.constitution);
    *c->mutable_models() = std::move(governance.models);
    *c->mutable_policy() = *policy;
    *c->mutable_rules() = rules_for(governance.rules, c->policy().action_id());
    submit(node, r, responder, make_submission(*r, session_key(*r), command, command_id_of(*r)),
           accepted_session);
  });
}

// `next` with the session's state; 404 when it is not this tenant's.
void with_session(const Node& node, const RequestPtr& r, const Responder& responder,
                  std::function<void(const v1::SessionState&, const StateView&)> next) {
  node.host->read(session_key(*r), [responder, next = std::move(next)](Result<StateView> view) {
    if (!view) return responder.send(http::problem_retry(view.error(), 1));
    const auto& state = static_cast<const v1::SessionState&>(*view->state);
    if (state.session_id().empty())
      return responder.fail({Code::kNotFound, "Session not found", {}});
    next(state, *view);
  });
}

// As it stood at ?at=, by folding its events.
void read_then(const Node& node, const RequestPtr& r, const Responder& responder,
               const std::string& place) {
  const auto at = views::parse_at(place);
  if (!at) return responder.fail({at.error().code, "query." + at.error().message, "query.at"});
  with_session(
      node, r, responder,
      [&node, r, responder, at = *at](const v1::SessionState&, const StateView&) {
        node.slow->post([&node, r, responder, at] {  // all of a history
          auto then = state_at(node, session_key(*r), at);
          if (!then && then.error().code == Code::kNotFound)
            return responder.fail({Code::kNotFound, "the session did not exist at that time", {}});
          if (!then) return responder.send(problem_of(then.error()));
          responder.send(http::json_response(
              200, views::session(static_cast<const v1::SessionState&>(then->fold.state()))));
        });
      });
}

void read(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (const auto at = r->query_value("at"); at && !at->empty())
    return read_then(node, r, responder, *at);
  with_session(node, r, responder,
               [responder](const v1::SessionState& state, const StateView& view) {
                 auto response = http::json_response(200, views::session(state));
                 response.header("Soma-Position", to_string(view.position));
                 responder.send(std::move(response));
               });
}

void events(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_session(node, r, responder,
               [&node, r, responder](const v1::SessionState&, const StateView&) {
                 node.worker->post([&node, r, responder] {
                   const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
                   const auto after = static_cast<std::uint64_t>(r->query_int("cursor", 0));
                   auto page = node.host->history(session_key(*r), Sequence{after}, limit);
                   if (!page) return responder.fail(page.error());
                   json::array items;
                   for (const auto& e : *page) items.push_back(views::event(*node.catalog, e));
                   json::value next;
                   if (page->size() == limit) next = std::to_string(page->back().event.sequence());
                   responder.send(http::json_response(
                       200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
                 });
               });
}

// The origin's history is read here, off the host's threads; the command carries it, so that the
// decision can be run again.
void fork(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (killed(node, responder)) return;
  with_session(
      node, r, responder, [&node, r, responder](const v1::SessionState&, const StateView& view) {
        const auto* wanted = r->json.get_object().if_contains("at_sequence");
        const std::uint64_t at = wanted ? wanted->to_number<std::uint64_t>() : view.sequence.value;
        if (at > view.sequence.value)
          return responder.send(
              http::field_error({"body", "at_sequence"},
                                "is beyond the last event, " + std::to_string(view.sequence.value),
                                "greater_than_max"));
        node.worker->post([&node, r, responder, at] {
          v1::ForkSession c;
          c.set_origin_session_id(r->param("id"));
          c.set_at_sequence(at);
          auto history = node.host->history(session_key(*r), Sequence{0}, at);
          if (!history) return responder.send(problem_of(history.error()));
          for (const auto& e : *history)
            if (!c.add_events()->ParseFromString(e.event.payload()))
              return responder.fail({Code::kCorrupt, "an event of the session does not parse", {}});
          submit_fork(node, r, responder, c);
        });
      });
}

// As server-sent events or over a WebSocket: the route says which.
void stream(const Node& node, const RequestPtr& r, const Responder& responder) {
  const std::string last =
      r->last_event_id.empty() ? r->query_value("last_event_id").value_or("") : r->last_event_id;
  auto place = parse_place(last);
  if (!place) return responder.fail(place.error());
  with_session(
      node, r, responder,
      [&node, r, responder, place = *place](const v1::SessionState&, const StateView& view) {
        if (place.sequence > view.sequence.value)
          return responder.send(http::field_error({"header", "Last-Event-ID"},
                                                  "is beyond this session's events", "invalid"));
        if (auto out = responder.stream())
          stream_session(node, session_key(*r), place, r->query_bool("follow"), out);
      });
}

void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  after_position(node, r, responder, View::kPostgres, [&node, r, responder] {
    auto page = node.projections->list_sessions(
        r->tenant(), r->query_value("status").value_or(""),
        static_cast<std::size_t>(r->query_int("limit", kListDefault)),
        r->query_value("cursor").value_or(""));
    if (!page) return responder.send(problem_of(page.error()));
    json::array items;
    for (const auto& s : page->items)
      items.push_back({{"session_id", s.session_id},
                       {"tenant_id", r->tenant()},
                       {"user", s.user},
                       {"status", s.status},
                       {"created_at", views::iso_time(s.created_ms)},
                       {"updated_at", views::iso_time(s.updated_ms)},
                       {"model", s.model},
                       {"turns", s.turns}});
    json::value next;
    if (!page->next_cursor.empty()) next = page->next_cursor;
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  });
}

http::Response status_of(const Accepted& a) {
  v1::SessionReply reply;
  reply.ParseFromString(a.reply);
  return http::json_response(200, json::object{{"session_id", reply.session_id()},
                                               {"status", views::session_status(reply.status())}});
}

void register_reads(http::Router& router, const Node& node) {
  const Field limit = limit_field(), cursor{.name = "cursor", .max_length = 200};
  const Field sequence{.name = "cursor", .type = FieldType::kInt, .min = 0};
  const Field status{.name = "status",
                     .one_of = {"accepted", "running", "waiting_approval", "waiting_tools",
                                "completed", "failed", "cancelled"}};

  router.add({.method = "GET",
              .pattern = "/v1/sessions",
              .capability = "session:read",
              .summary = "List sessions",
              .tag = "sessions",
              .query = {status, limit, cursor}},
             [&node](auto r, auto responder) { list(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/sessions/{id}",
              .capability = "session:read",
              .summary = "Read a session, as it is or as it was at a place in its history",
              .tag = "sessions",
              .query = {{.name = "at",
                         .description = "Sequence, UTC time or position",
                         .max_length = 64}}},
             [&node](auto r, auto responder) { read(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/sessions/{id}/events",
              .capability = "session:read",
              .summary = "A session's history",
              .tag = "sessions",
              .query = {limit, sequence}},
             [&node](auto r, auto responder) { events(node, r, responder); });
  const std::vector<Field> live = {{.name = "follow", .type = FieldType::kBool},
                                   {.name = "last_event_id", .max_length = 64},
                                   {.name = "ticket", .max_length = 200}};
  router.add({.method = "GET",
              .pattern = "/v1/sessions/{id}/stream",
              .capability = "session:read",
              .summary = "Follow a session",
              .tag = "sessions",
              .query = live,
              .streaming = true},
             [&node](auto r, auto responder) { stream(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/sessions/{id}/ws",
              .capability = "session:read",
              .summary = "Follow a session over a WebSocket: messages {event, id, data}",
              .tag = "sessions",
              .query = live,
              .responses = {{.status = 101}},
              .websocket = true},
             [&node](auto r, auto responder) { stream(node, r, responder); });
}

void register_fork(http::Router& router, const Node& node) {
  const auto body = http::make_schema(
      "SessionFork", {{.name = "at_sequence",
                       .type = FieldType::kInt,
                       .description = "The last event that is taken over; absent: all",
                       .min = 1,
                       .max = 1e15}});
  router.add({.method = "POST",
              .pattern = "/v1/sessions/{id}/fork",
              .capability = "session:start",
              .summary = "A new session that begins with this one's history",
              .tag = "sessions",
              .request = body,
              .responses = {{.status = 201}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { fork(node, r, responder); });
}

void register_writes(http::Router& router, const Node& node) {
  const auto body = http::make_schema(
      "SessionStart", {{.name = "prompt",
                        .required = true,
                        .description = "What the user says",
                        .min_length = 1,
                        .max_length = 65536},
                       {.name = "tenant", .description = "Must be the token's"},
                       {.name = "user"},
                       {.name = "persona", .max_length = 8192},
                       {.name = "model", .max_length = 200},
                       role_field(),
                       {.name = "capsule_id"},
                       tools_field(),
                       {.name = "metadata",
                        .type = FieldType::kObject,
                        .description = "max_tokens, risk_score, confidence, and your own"}});
  const auto message = http::make_schema(
      "SessionMessage",
      {{.name = "content", .required = true, .min_length = 1, .max_length = 65536},
       role_field(),
       tools_field(),
       {.name = "metadata", .type = FieldType::kObject}});
  const auto cancel = http::make_schema("SessionCancel", {{.name = "reason", .max_length = 1000}});

  router.add({.method = "POST",
              .pattern = "/v1/sessions/start",
              .capability = "session:start",
              .summary = "Start a session",
              .tag = "sessions",
              .request = body,
              .responses = {{.status = 202}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { start(node, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/sessions/{id}/messages",
              .capability = "session:start",
              .summary = "Say something more",
              .tag = "sessions",
              .request = message,
              .responses = {{.status = 202}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { send_message(node, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/sessions/{id}/cancel",
              .capability = "session:cancel",
              .summary = "Cancel the turn in progress",
              .tag = "sessions",
              .request = cancel,
              .idempotent_write = true},
             [&node](auto r, auto responder) {
               v1::SessionCommand command;
               command.mutable_cancel_session()->set_reason(text_member(r->json, "reason"));
               submit(node, r, responder,
                      make_submission(*r, session_key(*r), command, command_id_of(*r)), status_of);
             });
  router.add({.method = "POST",
              .pattern = "/v1/sessions/{id}/complete",
              .capability = "session:start",
              .summary = "Close a session",
              .tag = "sessions",
              .idempotent_write = true},
             [&node](auto r, auto responder) {
               v1::SessionCommand command;
               command.mutable_complete_session();
               submit(node, r, responder,
                      make_submission(*r, session_key(*r), command, command_id_of(*r)), status_of);
             });
}

}  // namespace

void register_sessions(http::Router& router, const Node& node) {
  register_writes(router, node);
  register_fork(router, node);
  register_reads(router, node);
}

}  // namespace soma::runtime::api
