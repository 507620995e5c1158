// Remember and recall, under the gateway's and SomaBrain's paths.
#include <boost/json/array.hpp>

#include "actors/memory/memory.h"
#include "runtime/api/command_history.h"
#include "runtime/api/views.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

// The text to find a payload by: its task, or all of its text members.
std::string text_of_payload(const json::object& payload) {
  if (std::string task = text_member(payload, "task"); !task.empty()) return task;
  std::string all;
  for (const auto& [k, v] : payload)
    if (v.is_string()) all += (all.empty() ? "" : " ") + std::string(v.get_string());
  return all;
}

// What the contract names and this build does not do: refused, as an answer that leaves it out of
// account would hold more than was asked for.
http::Field not_yet(const char* name) {
  return {.name = name,
          .type = FieldType::kAny,
          .description = "Not done by this build: 422 unless it is absent or null",
          .nullable = true};
}

// False, and answered, when the body asks for such a thing.
bool can_be_done(const RequestPtr& r, const Responder& responder,
                 std::initializer_list<const char*> not_yet) {
  for (const char* name : not_yet)
    if (const auto* v = r->json.get_object().if_contains(name); v && !v->is_null()) {
      responder.send(
          http::field_error({"body", name}, "is not supported yet; leave it out", "not_supported"));
      return false;
    }
  return true;
}

Result<v1::MemoryFact> fact_of(const http::Request& r, const std::string& id, std::int64_t now_ms) {
  v1::MemoryFact fact;
  const auto& body = r.json.get_object();
  fact.set_text(text_member(body, "text"));
  if (const auto* payload = body.if_contains("payload"); payload && payload->is_object()) {
    fact.set_payload_json(json_text(*payload));
    if (fact.text().empty()) fact.set_text(text_of_payload(payload->get_object()));
  }
  if (fact.text().empty())
    return fail(Code::kInvalidArgument, "give text, or a payload with a task", "body.text");
  fact.set_memory_id(id);
  fact.set_user(r.principal.subject());
  fact.set_coord(text_member(body, "coord").empty() ? id : text_member(body, "coord"));
  fact.set_source("client");
  fact.set_created_ms(now_ms);
  fact.set_importance(0.5);
  if (const auto* v = body.if_contains("importance"); v && v->is_number())
    fact.set_importance(v->to_number<double>());
  if (const auto* tags = body.if_contains("tags"); tags && tags->is_array())
    for (const auto& tag : tags->get_array())
      if (tag.is_string()) fact.add_tags(std::string(tag.get_string()));
  if (const auto* metadata = body.if_contains("metadata"); metadata && metadata->is_object())
    for (const auto& [k, v] : metadata->get_object())
      (*fact.mutable_metadata())[std::string(k)] =
          v.is_string() ? std::string(v.get_string()) : json_text(v);
  return fact;
}

// The vector is made first, so that the next recall finds the fact by meaning; without it, it is
// queued.
void remember(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!can_be_done(r, responder, {"universe"})) return;
  const std::string command_id = command_id_of(*r);
  const std::string coord = text_member(r->json, "coord");
  // A coordinate names a fact: the newest one with it wins.
  const std::string id =
      coord.empty() ? created_id("mem", *r, command_id) : "mem_at_" + hex(coord).substr(0, 200);
  auto fact = fact_of(*r, id, node.clock->now_ms());
  if (!fact) return responder.fail(fact.error());
  auto command = std::make_shared<v1::MemoryCommand>();
  command->mutable_remember()->mutable_fact()->Swap(&*fact);
  auto go = [&node, r, responder, command, command_id, id] {
    submit_settled(node, r, responder,
                   make_submission(*r, actors::memory_key(r->tenant(), id), *command, command_id),
                   [r](const Accepted& a) {
                     v1::MemoryReply reply;
                     reply.ParseFromString(a.reply);
                     json::object out{{"ok", true},
                                      {"success", true},
                                      {"status", "accepted"},
                                      {"memory_id", reply.memory_id()},
                                      {"coord", reply.coord()},
                                      {"namespace", r->tenant()},
                                      {"trace_id", reply.trace_id()},
                                      {"deduplicated", reply.deduplicated()},
                                      {"queued", reply.queued()}};
                     if (!r->idempotency_key.empty()) out["idempotency_key"] = r->idempotency_key;
                     auto response = http::json_response(200, out);
                     response.in_history = !reply.deduplicated();  // else it led to no event
                     return response;
                   });
  };
  auto endpoint = node.embedding_endpoint();
  // Without values: no vector, and none is waited for.
  if (!endpoint && endpoint.error().field == kNoModel)
    command->mutable_remember()->mutable_embedding();
  // One that runs again was recorded already, as a rule; else its fact is queued for a vector.
  if (!endpoint || r->replayed) return go();
  node.slm->embed(*endpoint, {command->remember().fact().text()},
                  [command, go](Result<v1::EmbedResult> e) {
                    if (e) *command->mutable_remember()->mutable_embedding() = e->embeddings(0);
                    go();
                  });
}

void recall(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!can_be_done(r, responder, {"universe", "filters", "as_of"})) return;
  after_position(node, r, responder, View::kMemory, [&node, r, responder] {
    v1::RecallRequest request;
    request.set_tenant(r->tenant());
    request.set_query(text_member(r->json, "query"));
    std::uint32_t top_k = 10;
    for (const char* name : {"top_k", "limit"})
      if (const auto* v = r->json.get_object().if_contains(name); v && v->is_int64())
        top_k = static_cast<std::uint32_t>(v->get_int64());
    request.set_top_k(top_k);
    make_recall(*node.memory, *node.slm,
                node.embedding_endpoint)(request, [r, responder](Result<v1::RecallResult> result) {
      if (!result) return responder.fail(result.error());
      responder.send(http::json_response(200, views::recall(r->tenant(), r->request_id, *result)));
    });
  });
}

// Only what the named retrievers find. Working memory and graph hold nothing in this build, so they
// add nothing, and the answer says so; nor does it rerank, whatever `rerank` asks for.
void retrieve(const Node& node, const RequestPtr& r, const Responder& responder) {
  if (!can_be_done(r, responder, {"universe"})) return;
  const auto& body = r->json.get_object();
  bool vectors = true, words = true, others = false;
  if (const auto* list = body.if_contains("retrievers"); list && list->is_array()) {
    vectors = words = false;
    for (const auto& v : list->get_array()) {
      vectors |= v.get_string() == "vector";
      words |= v.get_string() == "lexical";
      others |= v.get_string() == "wm" || v.get_string() == "graph";
    }
  }
  MemoryIndex::Query query;
  query.tenant = r->tenant();
  query.top_k = 10;
  if (const auto* k = body.if_contains("top_k"); k && k->is_int64())
    query.top_k = static_cast<std::size_t>(k->get_int64());
  const std::string text = text_member(body, "query");
  if (words) query.text = text;
  auto go = [&node, r, responder, others](const MemoryIndex::Query& q) {
    node.memory->recall_apart(q, [r, responder, others](Result<v1::RecallResult> result) {
      if (!result) return responder.send(problem_of(result.error()));
      json::object found = views::recall(r->tenant(), r->request_id, *result);
      json::object out{{"candidates", std::move(found["results"])},
                       {"namespace", r->tenant()},
                       {"reranked", false},
                       {"trace_id", r->request_id}};
      if (others) out["unavailable"] = json::array{"wm", "graph"};
      responder.send(http::json_response(200, out));
    });
  };
  after_position(node, r, responder, View::kMemory, [&node, responder, vectors, text, query, go] {
    if (!vectors) return go(query);
    auto endpoint = node.embedding_endpoint();
    if (!endpoint) return responder.send(problem_of(endpoint.error()));
    node.slm->embed(*endpoint, {text}, [responder, query, go](Result<v1::EmbedResult> e) mutable {
      if (!e) return responder.send(problem_of(e.error()));
      query.vector.assign(e->embeddings(0).values().begin(), e->embeddings(0).values().end());
      go(query);
    });
  });
}

}  // namespace

void register_memories(http::Router& router, const Node& node) {
  const auto remember_body = http::make_schema(
      "Remember",
      {{.name = "text", .max_length = 65536},
       {.name = "payload", .type = FieldType::kObject},
       {.name = "coord", .max_length = 100},
       {.name = "tags", .type = FieldType::kArray, .max_length = 64, .items = FieldType::kString},
       {.name = "metadata", .type = FieldType::kObject},
       {.name = "importance", .type = FieldType::kNumber, .min = 0, .max = 1},
       not_yet("universe")});
  const auto recall_body = http::make_schema(
      "Recall", {{.name = "query", .required = true, .min_length = 1, .max_length = 65536},
                 {.name = "top_k", .type = FieldType::kInt, .min = 1, .max = 200},
                 {.name = "limit", .type = FieldType::kInt, .min = 1, .max = 200},
                 not_yet("universe"),
                 not_yet("filters"),
                 not_yet("as_of")});
  for (const char* path : {"/v1/remember", "/remember"})
    router.add({.method = "POST",
                .pattern = path,
                .capability = "memory:write",
                .summary = "Remember a fact",
                .tag = "memory",
                .request = remember_body,
                .idempotent_write = true},
               [&node](auto r, auto responder) { remember(node, r, responder); });
  for (const char* path : {"/v1/recall", "/recall"})
    router.add({.method = "POST",
                .pattern = path,
                .capability = "memory:read",
                .summary = "Find remembered facts",
                .tag = "memory",
                .request = recall_body},
               [&node](auto r, auto responder) { recall(node, r, responder); });
  const auto retrieve_body = http::make_schema(
      "Retrieve", {{.name = "query", .required = true, .min_length = 1, .max_length = 65536},
                   {.name = "top_k", .type = FieldType::kInt, .min = 1, .max = 200},
                   {.name = "retrievers",
                    .type = FieldType::kArray,
                    .min_length = 1,
                    .max_length = 4,
                    .one_of = {"vector", "wm", "graph", "lexical"},
                    .items = FieldType::kString},
                   {.name = "rerank",
                    .type = FieldType::kAny,
                    .description = "Taken, and not done: this build has no reranker, so that the "
                                   "answer says `reranked`: false"},
                   not_yet("universe")});
  for (const char* path : {"/v1/rag/retrieve", "/rag/retrieve"})
    router.add({.method = "POST",
                .pattern = path,
                .capability = "memory:read",
                .summary = "Find memories by the named retrievers",
                .tag = "memory",
                .request = retrieve_body,
                .idempotent_write = true},
               [&node](auto r, auto responder) { retrieve(node, r, responder); });
  router.add({.method = "DELETE",
              .pattern = "/memory/{id}",
              .capability = "memory:write",
              .summary = "Forget a fact",
              .tag = "memory",
              .idempotent_write = true},
             [&node](auto r, auto responder) {
               v1::MemoryCommand command;
               command.mutable_forget()->set_reason("asked for by " + r->principal.subject());
               submit(node, r, responder,
                      make_submission(*r, actors::memory_key(r->tenant(), r->param("id")), command,
                                      command_id_of(*r)),
                      [r](const Accepted&) {
                        return http::json_response(
                            200, json::object{{"ok", true}, {"memory_id", r->param("id")}});
                      });
             });
}

}  // namespace soma::runtime::api
