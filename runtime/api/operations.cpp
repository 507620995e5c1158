// What an operator looks after: parked actors, snapshots, recorded decisions.
#include <algorithm>
#include <boost/json/array.hpp>
#include <map>

#include "runtime/api/actors.h"
#include "runtime/api/effect_routes.h"
#include "runtime/api/pages.h"
#include "runtime/api/redrive_try.h"
#include "runtime/api/slowly.h"
#include "runtime/api/views.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

constexpr std::size_t kMostMentions = 16;  // frames that name one decision

json::object parked(const Host::ParkedActor& p) {
  json::object out = views::actor(p.actor);
  out["commands"] = p.commands.size();
  out["since"] = p.commands.empty() ? json::value(nullptr)
                                    : json::value(views::iso_time(p.commands[0].context.now_ms()));
  out["reason"] = p.reason;
  return out;
}

Result<std::optional<Host::ParkedActor>> parked_of(const Node& node, const http::Request& r) {
  auto all = node.host->parked();
  if (!all) return tl::unexpected(all.error());
  for (auto& p : *all)
    if (p.actor.tenant == r.tenant() && p.actor.type == r.param("type") &&
        p.actor.id == r.param("id"))
      return std::move(p);
  return std::nullopt;
}

const Error kNotParked{Code::kNotFound, "no commands are parked for this actor", {}};

void list_parked(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto all = node.host->parked();
  if (!all) return responder.fail(all.error());
  std::map<std::string, const Host::ParkedActor*> own;
  for (const auto& p : *all)
    if (p.actor.tenant == r->tenant()) own[to_string(p.actor)] = &p;
  responder.send(page_by_key(own, *r, [](const auto* p) { return parked(*p); }));
}

void show_parked(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto found = parked_of(node, *r);
  if (!found) return responder.fail(found.error());
  const auto& p = *found;
  if (!p) return responder.fail(kNotParked);
  json::object out = parked(*p);
  json::array waiting;
  for (const auto& c : p->commands)
    waiting.push_back(views::waiting_command(*node.catalog, p->actor, c.context, c.command));
  out["waiting"] = std::move(waiting);
  responder.send(http::json_response(200, out));
}

// A second redrive finds the work of the first one done.
void nothing_parked(const Node& node, const RequestPtr& r, const Responder& responder) {
  auto known = find_actor(node, r->tenant(), r->param("type"), r->param("id"));
  if (!known) return responder.fail(known.error());
  if (!*known) return responder.fail(kNotParked);
  responder.send(http::json_response(
      200,
      json::object{{"actor", to_string(**known)}, {"status", "nothing_parked"}, {"commands", 0}}));
}

// What this node's build makes of the commands, on a copy of the state.
Result<TriedRedrive> tried(const Node& node, const Host::ParkedActor& p) {
  auto now = state_at(node, p.actor, {});
  // An actor may be parked with its very first command.
  if (!now && now.error().code != Code::kNotFound) return tl::unexpected(now.error());
  std::vector<ParkedCommand> waiting;
  for (const auto& c : p.commands) waiting.push_back({c.context, c.command, p.reason});
  const auto fresh = node.catalog->find(p.actor.type)->new_state();
  return try_redrive(*node.catalog, p.actor, now ? now->fold.state() : *fresh, waiting);
}

void try_first(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto found = parked_of(node, *r);
  if (!found) return responder.fail(found.error());
  if (!*found) return responder.fail(kNotParked);
  auto t = tried(node, **found);
  if (!t) return responder.send(problem_of(t.error()));
  responder.send(http::json_response(200, json::object{{"actor", to_string((*found)->actor)},
                                                       {"would_park_again", t->stuck},
                                                       {"items", std::move(t->rows)}}));
}

void redrive(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto found = parked_of(node, *r);
  if (!found) return responder.fail(found.error());
  const auto& p = *found;
  if (!p) return nothing_parked(node, r, responder);
  if (!r->query_bool("force")) {
    auto t = tried(node, *p);
    if (!t) return responder.send(problem_of(t.error()));
    if (t->stuck)
      return responder.fail({Code::kConflict,
                             "this build would park the actor again (" + t->problem +
                                 "); deploy the fix first, or redrive with force=true",
                             {}});
  }
  if (auto done = node.host->redrive(p->actor); !done) return responder.fail(done.error());
  responder.send(http::json_response(202, json::object{{"actor", to_string(p->actor)},
                                                       {"status", "redriven"},
                                                       {"commands", p->commands.size()}}));
}

void list_snapshots(const Node& node, const RequestPtr& r, const Responder& responder) {
  node.slow->post([&node, r, responder] {
    const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
    const std::string type = r->query_value("type").value_or("");
    const std::string cursor = r->query_value("cursor").value_or("");
    json::array items;
    json::value next;
    std::optional<ActorKey> after;  // of the partition where the last page ended
    std::uint32_t first = 0;
    if (!cursor.empty()) {
      const auto a = cursor.find('/'), b = cursor.find('/', a == cursor.npos ? a : a + 1);
      const auto place =
          a == cursor.npos ? std::nullopt : parse_position(cursor.substr(0, a) + "/0");
      if (!place || b == cursor.npos)
        return responder.send(
            http::field_error({"query", "cursor"}, "must be a cursor of this list", "cursor"));
      first = place->partition.value;
      after = ActorKey{r->tenant(), cursor.substr(a + 1, b - a - 1), cursor.substr(b + 1), {}};
    }
    for (std::uint32_t p = first; p < node.log->partition_count(); ++p) {
      for (const auto& key : node.store->list(PartitionId{p}, r->tenant(), type,
                                              after ? &*after : nullptr, limit - items.size())) {
        items.push_back(snapshot_view(*node.catalog, PartitionId{p}, key,
                                      node.store->load(PartitionId{p}, key)));
        if (items.size() == limit) next = std::to_string(p) + "/" + key.type + "/" + key.id;
      }
      if (items.size() == limit) break;
      after.reset();
    }
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  });
}

void drop_snapshots(const Node& node, const RequestPtr& r, const Responder& responder) {
  std::optional<ActorKey> only;
  if (const std::string type = r->query_value("type").value_or(""); !type.empty())
    only = ActorKey{r->tenant(), type, r->query_value("id").value_or(""), {}};
  if (only && only->id.empty())
    return responder.send(http::field_error(
        {"query", "id"}, "must come with a type, and a type with an id", "missing"));
  node.slow->post([&node, r, responder, only] {
    auto dropped = node.store->drop_snapshots(r->tenant(), only ? &*only : nullptr);
    if (!dropped) return responder.fail(dropped.error());
    responder.send(http::json_response(200, json::object{{"dropped", *dropped}}));
  });
}

void register_parked(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/admin/parked",
              .capability = "admin:read",
              .summary = "Actors that cannot decide, and what waits for them",
              .tag = "operations",
              .query = page_fields()},
             slowly(node, list_parked));
  router.add({.method = "GET",
              .pattern = "/v1/admin/parked/{type}/{id}",
              .capability = "admin:read",
              .summary = "One parked actor and its commands",
              .tag = "operations"},
             slowly(node, show_parked));
  router.add({.method = "GET",
              .pattern = "/v1/admin/parked/{type}/{id}/redrive",
              .capability = "admin:read",
              .summary = "What a redrive would do, tried on a copy of the actor's state",
              .tag = "operations"},
             slowly(node, try_first));
  router.add({.method = "POST",
              .pattern = "/v1/admin/parked/{type}/{id}/redrive",
              .capability = "admin:write",
              .summary = "Decide a parked actor's commands again, in order",
              .tag = "operations",
              .query = {{.name = "force",
                         .type = FieldType::kBool,
                         .description = "Even if this build would park the actor again"}},
              .responses = {{.status = 202}},
              .idempotent_write = true},
             slowly(node, redrive));
}

}  // namespace

json::object snapshot_view(const actors::Catalog& catalog, PartitionId partition,
                           const ActorKey& key,
                           const std::optional<StateStore::Snapshot>& snapshot) {
  json::object out = views::actor(key);
  out["partition"] = partition.value;
  if (!snapshot) {
    out["usable"] = "no: does not check";
    return out;
  }
  const auto* type = catalog.find(key.type);
  out["sequence"] = snapshot->sequence.value;
  out["offset"] = snapshot->offset.value;
  out["bytes"] = snapshot->state.size();
  out["pending_effects"] = snapshot->pending;
  out["usable"] = type && type->schema_hash() == snapshot->schema_hash ? "yes" : "no: other schema";
  return out;
}

Result<json::object> explain_decision(Journal& journal, const actors::Catalog& catalog,
                                      const std::string* tenant, const std::string& id) {
  const auto mentions = [&](const v1::Entry& e) {
    if (tenant && e.actor().tenant() != *tenant) return false;
    for (const auto& event : e.events())
      if (event.payload().find(id) != std::string::npos) return true;
    return false;
  };
  const auto missing = fail(Code::kNotFound, "Decision not found");
  if (!id.starts_with("dec_")) return missing;
  // Several events name a decision; the one that made it holds it whole.
  auto found = journal.newest(kMostMentions, [&](const events::ValidFrame& f) {
    return std::any_of(f.frame->entries().begin(), f.frame->entries().end(), mentions);
  });
  if (!found) return tl::unexpected(found.error());
  for (const auto& f : *found)
    for (const auto& e : f.frame->entries()) {
      if (!mentions(e)) continue;
      for (const auto& recorded : e.events()) {
        const auto event =
            views::event(catalog, {actors::to_key(e.actor()), recorded, e.context(), f.position});
        const auto* data = event.at("data").if_object();
        const auto* decision = data ? data->if_contains("decision") : nullptr;
        if (!decision || text_member(*decision, "decision_id") != id) continue;
        json::object out = decision->get_object();
        if (!out.contains("allow")) out["allow"] = false;
        for (const char* name : {"actor", "principal", "time", "position", "event_id", "sequence"})
          out[name] = event.at(name);
        return out;
      }
    }
  return missing;
}

void register_operations(http::Router& router, const Node& node) {
  const http::Field limit{.name = "limit", .type = FieldType::kInt, .min = 1, .max = 200};
  router.add({.method = "GET",
              .pattern = "/v1/admin/snapshots",
              .capability = "admin:read",
              .summary = "Snapshots of the caller's actors",
              .tag = "operations",
              .query = {{.name = "type"}, limit, {.name = "cursor"}}},
             [&node](auto r, auto responder) { list_snapshots(node, r, responder); });
  router.add({.method = "DELETE",
              .pattern = "/v1/admin/snapshots",
              .capability = "admin:write",
              .summary = "Drop snapshots; states are folded from the journal again when needed",
              .tag = "operations",
              .query = {{.name = "type"}, {.name = "id"}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { drop_snapshots(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/whoami",
              .capability = "authenticated",
              .summary = "The caller as the node sees it",
              .tag = "identity"},
             [](auto r, auto responder) {
               json::array capabilities;
               for (const auto& c : r->principal.capabilities()) capabilities.emplace_back(c);
               const auto time = [](std::int64_t s) {
                 return s > 0 ? json::value(views::iso_time(s * 1000)) : json::value(nullptr);
               };
               responder.send(http::json_response(
                   200, json::object{{"subject", r->principal.subject()},
                                     {"tenant_id", r->tenant()},
                                     {"capabilities", std::move(capabilities)},
                                     {"anonymous", r->identity.anonymous},
                                     {"token_id", r->identity.token_id},
                                     {"issued_at", time(r->identity.issued_s)},
                                     {"expires_at", time(r->identity.expires_s)}}));
             });
  router.add({.method = "GET",
              .pattern = "/v1/decisions/{id}",
              .capability = "policy:read",
              .summary = "A recorded decision with its inputs and reasons",
              .tag = "policy"},
             [&node](auto r, auto responder) {
               const auto show = [&node, r, responder] {
                 auto found =
                     explain_decision(*node.journal, *node.catalog, &r->tenant(), r->param("id"));
                 if (!found) return responder.fail(found.error());
                 responder.send(http::json_response(200, *found));
               };
               after_position(node, r, responder, View::kJournal,
                              [&node, show] { node.slow->post(show); });
             });
  register_parked(router, node);
  register_effects(router, node);
}

}  // namespace soma::runtime::api
