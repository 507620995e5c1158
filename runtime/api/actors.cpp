// Any actor, by reflection: which there are, their history, their state at any place in it.
#include "runtime/api/actors.h"

#include <boost/json/array.hpp>

#include "runtime/api/pages.h"
#include "runtime/api/queue.h"
#include "runtime/api/views.h"
#include "runtime/api/what_if.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

constexpr std::size_t kPage = 500;

// "PARTITION/TYPE/ID"; types and partitions hold no slash.
std::optional<Host::ActorPlace> parse_cursor(const std::string& text, const std::string& tenant) {
  const auto a = text.find('/'), b = text.find('/', a == text.npos ? a : a + 1);
  if (a == text.npos || b == text.npos) return {};
  const auto partition = parse_position(text.substr(0, a) + "/0");
  if (!partition) return {};
  return Host::ActorPlace{partition->partition,
                          {tenant, text.substr(a + 1, b - a - 1), text.substr(b + 1), {}}};
}

void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  std::optional<Host::ActorPlace> after;
  if (const auto cursor = r->query_value("cursor")) {
    after = parse_cursor(*cursor, r->tenant());
    if (!after)
      return responder.send(
          http::field_error({"query", "cursor"}, "must be a cursor of this list", "cursor"));
  }
  node.slow->post([&node, r, responder, after] {
    const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
    const auto found =
        node.host->actors(r->tenant(), r->query_value("type").value_or(""), after, limit);
    if (!found) return responder.send(problem_of(found.error()));
    json::array items;
    for (const auto& place : *found) {
      json::object item = views::actor(place.actor);
      item["partition"] = place.partition.value;
      items.push_back(std::move(item));
    }
    json::value next;
    if (found->size() == limit)
      next = std::to_string(found->back().partition.value) + "/" + found->back().actor.type + "/" +
             found->back().actor.id;
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  });
}

void with_actor(const Node& node, const RequestPtr& r, const Responder& responder,
                std::function<void(const ActorKey&)> next) {
  node.slow->post([&node, r, responder, next = std::move(next)] {
    const auto tenant = r->query_value("tenant");
    Result<std::optional<ActorKey>> key = std::optional<ActorKey>{};
    if (!tenant || *tenant == r->tenant())
      key = find_actor(node, r->tenant(), r->param("type"), r->param("id"));
    if (!key) return responder.fail(key.error());
    if (!*key) return responder.fail({Code::kNotFound, "Actor not found", {}});
    next(**key);
  });
}

json::array effects_json(const std::vector<actors::Effect>& effects) {
  json::array out;
  for (const auto& e : effects)
    out.push_back({{"effect_id", e.effect_id}, {"kind", e.kind}, {"attempt", e.attempt}});
  return out;
}

// The actor as it stood there, and what it then waited for.
void answer_state(const Node& node, const Responder& responder, const ActorKey& key,
                  const views::At& at, bool with_effects) {
  auto then = state_at(node, key, at);
  if (!then) return responder.fail(then.error());
  const auto& fold = then->fold;
  auto out = views::actor_state(key, fold.sequence(), then->position, then->time_ms, fold.state());
  if (with_effects)
    out["effects"] = effects_json(node.catalog->find(key.type)->effects(key, fold.state()));
  responder.send(http::json_response(200, out));
}

void state(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto at = views::parse_at(r->query_value("at").value_or(""));
  if (!at) return responder.fail({at.error().code, "query." + at.error().message, "query.at"});
  with_actor(node, r, responder, [&node, responder, at = *at](const ActorKey& key) {
    answer_state(node, responder, key, at, false);
  });
}

// POST /v1/replay: {actor: "TYPE/ID" or "TENANT/TYPE/ID", at? | what_if?}.
void replay(const Node& node, Queue& queue, const RequestPtr& r, const Responder& responder) {
  const std::string name = text_member(r->json, "actor");
  const auto at = views::parse_at(text_member(r->json, "at"));
  if (!at) return responder.fail({at.error().code, "body." + at.error().message, "body.at"});
  const auto a = name.find('/'), b = name.find('/', a == name.npos ? a : a + 1);
  if (a == name.npos || a == 0 || name.back() == '/')
    return responder.send(http::field_error(
        {"body", "actor"}, "must be TYPE/ID or TENANT/TYPE/ID, as session/ses_1", "actor"));
  const bool named = b != name.npos;  // with its tenant
  const std::string type = named ? name.substr(a + 1, b - a - 1) : name.substr(0, a);
  const std::string id = name.substr((named ? b : a) + 1);
  const bool ours = !named || name.substr(0, a) == r->tenant();
  const auto* what_if = r->json.get_object().if_contains("what_if");
  if (what_if && !what_if->is_null()) {
    if (!text_member(r->json, "at").empty())
      return responder.send(http::field_error(
          {"body", "at"}, "goes with no what_if, which is of the whole record", "invalid"));
    if (type != "session")
      return responder.send(http::field_error({"body", "actor"},
                                              "must be a session where what_if is asked", "actor"));
    if (!ours) return responder.fail({Code::kNotFound, "Session not found", {}});
    return replay_otherwise(node, queue, r, responder, id);
  }
  node.slow->post([&node, r, responder, at = *at, type, id, ours] {
    Result<std::optional<ActorKey>> key = std::optional<ActorKey>{};
    if (ours) key = find_actor(node, r->tenant(), type, id);
    if (!key) return responder.fail(key.error());
    if (!*key) return responder.fail({Code::kNotFound, "Actor not found", {}});
    answer_state(node, responder, **key, at, true);
  });
}

void history(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_actor(node, r, responder, [&node, r, responder](const ActorKey& key) {
    const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
    const auto after = static_cast<std::uint64_t>(r->query_int("cursor", 0));
    auto page = node.host->history(key, Sequence{after}, limit);
    if (!page) return responder.fail(page.error());
    json::array items;
    for (const auto& e : *page) items.push_back(views::event(*node.catalog, e));
    json::value next;
    if (page->size() == limit) next = std::to_string(page->back().event.sequence());
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  });
}

json::array types(const actors::Catalog& catalog) {
  json::array items;
  for (const auto* type : catalog.all())
    items.push_back({{"type", type->name()},
                     {"state", type->new_state()->GetTypeName()},
                     {"command", type->new_command()->GetTypeName()},
                     {"event", type->new_event()->GetTypeName()},
                     {"schema", type->schema_hash()}});
  return items;
}

}  // namespace

Result<std::optional<ActorKey>> find_actor(const Node& node, const std::string& tenant,
                                           const std::string& type, const std::string& id) {
  ActorKey key{tenant, type, id, {}};
  if (!node.catalog->find(key.type)) return std::optional<ActorKey>{};
  for (std::uint32_t p = 0; p <= node.journal->partition_count(); ++p) {
    if (p > 0) key.affinity = "#" + std::to_string(p - 1);
    auto first = node.host->history(key, Sequence{0}, 1);
    if (!first) return tl::unexpected(first.error());
    if (!first->empty()) return std::optional(key);
  }
  return std::optional<ActorKey>{};
}

Result<StateAt> state_at(const Node& node, const ActorKey& key, const views::At& at) {
  StateAt out{views::Fold(*node.catalog->find(key.type)), {}, 0};
  for (bool more = true; more;) {
    auto page = node.host->history(key, out.fold.sequence(), kPage);
    if (!page) return tl::unexpected(page.error());
    more = page->size() == kPage;
    for (const auto& e : *page) {
      if (!at.holds(e.event.sequence(), e.context.now_ms(), e.position)) {
        more = false;
        break;
      }
      if (auto ok = out.fold.apply(e.event); !ok) return tl::unexpected(ok.error());
      out.position = e.position;
      out.time_ms = e.context.now_ms();
    }
  }
  if (out.fold.sequence().value == 0)
    return fail(Code::kNotFound, "the actor did not exist at that time");
  return out;
}

json::object actor_types(const actors::Catalog& catalog) {
  return {{"items", types(catalog)}, {"next_cursor", nullptr}};
}

void register_actors(http::Router& router, const Node& node) {
  const http::Field limit{.name = "limit", .type = FieldType::kInt, .min = 1, .max = 200};
  const http::Field tenant{.name = "tenant", .description = "Another's answers as missing"};
  router.add({.method = "GET",
              .pattern = "/v1/actor-types",
              .capability = "actor:read",
              .summary = "Actor types of this build",
              .tag = "actors",
              .query = page_fields()},
             [&node](auto r, auto responder) {
               responder.send(page_of(*r, types(*node.catalog), "type"));
             });
  router.add({.method = "GET",
              .pattern = "/v1/actors",
              .capability = "actor:read",
              .summary = "Actors of the caller's tenant",
              .tag = "actors",
              .query = {{.name = "type"}, limit, {.name = "cursor"}, tenant}},
             [&node](auto r, auto responder) { list(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/actors/{type}/{id}",
              .capability = "actor:read",
              .summary = "An actor's state, now or at any place in its history",
              .tag = "actors",
              .query = {{.name = "at", .description = "Sequence, UTC time or position"}, tenant}},
             [&node](auto r, auto responder) { state(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/actors/{type}/{id}/history",
              .capability = "actor:read",
              .summary = "An actor's events, the oldest first",
              .tag = "actors",
              .query = {limit, {.name = "cursor", .type = FieldType::kInt, .min = 0}, tenant}},
             [&node](auto r, auto responder) { history(node, r, responder); });
  auto queue = std::make_shared<Queue>("soma-what-if", "what-ifs", Queue::Limits{});
  router.add(
      {.method = "POST",
       .pattern = "/v1/replay",
       .capability = "actor:read",
       .summary = "An actor as it stood, by folding its events; or what a session would have been",
       .tag = "audit",
       .request = http::make_schema("Replay",
                                    {{.name = "actor",
                                      .required = true,
                                      .description = "TYPE/ID, or TENANT/TYPE/ID",
                                      .min_length = 3,
                                      .max_length = 600},
                                     {.name = "at",
                                      .description = "Sequence, UTC time or position; absent: now",
                                      .max_length = 64,
                                      .nullable = true},
                                     what_if_field()})},
      [&node, queue](auto r, auto responder) { replay(node, *queue, r, responder); });
}

}  // namespace soma::runtime::api
