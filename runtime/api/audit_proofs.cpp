// Heads, proofs and bundles of the caller's tenant.
#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "runtime/api/queue.h"
#include "runtime/api/submit.h"
#include "runtime/audit/bundle.h"
#include "runtime/audit/keeper.h"
#include "runtime/http/paced.h"
#include "runtime/telemetry/log.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

json::object head_json(const audit::Head& head, const std::string& jws, const std::string& key) {
  json::object out = audit::to_json(head);
  out["key"] = key;
  out["head"] = jws;
  return out;
}

void sign(const Node& node, const RequestPtr& r, const Responder& responder) {
  node.audit->post([&node, r, responder] {
    auto made = node.audit->sign(r->tenant());
    if (!made) return responder.send(problem_of(made.error()));
    responder.send(http::json_response(200, head_json(made->head, made->jws, made->key_id)));
  });
}

void heads(const Node& node, Queue& asked, const RequestPtr& r, const Responder& responder) {
  // On a cluster other nodes are asked, one of which may hang.
  const auto answer = [&node, r, responder] {
    auto all = node.audit->all_heads(r->tenant());
    const auto limit = static_cast<std::size_t>(r->query_int("limit", 50));
    // The newest first; the cursor counts those that are older than what was shown.
    const auto there = static_cast<std::int64_t>(all.size());
    auto left = static_cast<std::size_t>(std::min(there, r->query_int("cursor", there)));
    json::array items;
    while (left > 0 && items.size() < limit) items.push_back(std::move(all[--left]));
    const json::value next = left > 0 ? json::value(std::to_string(left)) : json::value(nullptr);
    responder.send(
        http::json_response(200, json::object{{"items", std::move(items)}, {"next_cursor", next}}));
  };
  asked.post(responder, r->tenant(), answer);
}

void prove(const Node& node, const RequestPtr& r, const Responder& responder) {
  node.audit->post([&node, r, responder] {
    auto key = node.audit->key();
    if (!key) return responder.send(problem_of(key.error()));
    auto proof =
        audit::prove_event(*node.log, *key, r->tenant(), r->param("event_id"), node.clock->now_ms(),
                           [&node] { return node.audit->stopping(); });
    if (!proof) return responder.send(problem_of(proof.error()));
    responder.send(http::json_response(200, *proof));
  });
}

// Begins to answer with the first line: what fails before it is a problem, what fails after it cuts
// the stream, which the verifiers tell by its missing end.
void export_bundle(const Node& node, const Queue& queue, const RequestPtr& r,
                   const Responder& responder) {
  auto key = node.audit->key();
  if (!key) return responder.send(problem_of(key.error()));
  std::vector<std::string> older;
  for (const auto& one : node.audit->all_heads(r->tenant()))
    older.emplace_back(one.at("head").as_string());
  std::shared_ptr<http::EventStream> out;
  std::optional<http::PacedWriter> writer;
  const auto write = [&](std::string_view line) -> Status {
    if (!out) {
      out = responder.stream({.content_type = "application/x-ndjson"});
      if (!out) return fail(Code::kCancelled, "the client has gone");
      writer.emplace(out);
    }
    if (!writer->write(line)) return fail(Code::kCancelled, "the client has gone");
    return {};
  };
  auto made =
      audit::write_bundle(*node.log, *node.catalog, *key, r->tenant(), older, node.clock->now_ms(),
                          write, {}, [&queue] { return queue.stopping(); });
  if (made) return out->close();
  if (!out) return responder.send(problem_of(made.error()));
  if (made.error().code != Code::kCancelled && !queue.stopping())
    log_error("an audit export broke off",
              {{"reason", made.error().message}, {"request_id", r->request_id}});
  out->abort();
}

}  // namespace

void register_audit_proofs(http::Router& router, const Node& node) {
  auto asked = std::make_shared<Queue>("soma-heads", "lists of heads", Queue::Limits{2, 2, 8});
  router.add(
      {.method = "GET",
       .pattern = "/v1/audit/head",
       .capability = "audit:read",
       .summary = "Signed heads of the tenant's records, the newest first",
       .tag = "audit",
       .query = {limit_field(), {.name = "cursor", .type = http::FieldType::kInt, .min = 0}}},
      [&node, asked](auto r, auto responder) { heads(node, *asked, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/audit/head",
              .capability = "audit:read",
              .summary = "Sign a head of the tenant's records as they are now",
              .tag = "audit"},
             [&node](auto r, auto responder) { sign(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/audit/proof/{event_id}",
              .capability = "audit:read",
              .summary = "Proof that an event is among the tenant's records",
              .tag = "audit"},
             [&node](auto r, auto responder) { prove(node, r, responder); });
  // Of its own: a slow client must not hold up heads and proofs.
  auto exports = std::make_shared<Queue>("soma-export", "exports", Queue::Limits{4, 1, 4});
  router.add({.method = "POST",
              .pattern = "/v1/audit/export",
              .capability = "audit:read",
              .summary = "Everything recorded of the tenant, with proofs, as lines of JSON",
              .tag = "audit",
              .responses = {{.description = "A bundle for soma-verify",
                             .content_type = "application/x-ndjson"}},
              .streaming = true},
             [&node, exports](auto r, auto responder) {
               exports->post(responder, r->tenant(), [&node, &queue = *exports, r, responder] {
                 export_bundle(node, queue, r, responder);
               });
             });
}

}  // namespace soma::runtime::api
