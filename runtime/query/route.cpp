// Queries run one after the other on a thread of their own: a long one delays no other request.
#include "runtime/query/route.h"

#include <memory>

#include "runtime/api/queue.h"
#include "runtime/api/submit.h"
#include "runtime/query/sql.h"

namespace soma::runtime::query {

namespace json = boost::json;
using http::FieldType;

namespace {

constexpr std::int64_t kNodeMostTimeMs = 30'000;

std::int64_t number(const json::object& body, std::string_view name, std::int64_t otherwise) {
  const auto* v = body.if_contains(name);
  return v && v->is_number() ? v->to_number<std::int64_t>() : otherwise;
}

json::object body_of(Answer&& answer) {
  json::array columns;
  for (const auto& c : answer.columns) columns.emplace_back(c);
  return {{"columns", std::move(columns)}, {"rows", std::move(answer.rows)}, {"more", answer.more}};
}

}  // namespace

void register_sql(http::Router& router, const api::Node& node) {
  auto queue = std::make_shared<api::Queue>("soma-sql", "queries", api::Queue::Limits{});
  router.add(
      {.method = "POST",
       .pattern = "/v1/log/sql",
       .capability = "log:read",
       .summary = "One SELECT over events, actors, sessions, decisions, effects of the tenant",
       .tag = "log",
       .request = http::make_schema(
           "LogQuery",
           {{.name = "query", .required = true, .min_length = 1, .max_length = kMostQueryBytes},
            {.name = "time_ms", .type = FieldType::kInt, .min = 1, .max = kNodeMostTimeMs},
            {.name = "rows", .type = FieldType::kInt, .min = 1, .max = kMostRows}})},
      [&node, queue](auto r, auto responder) {
        queue->post(responder, r->tenant(), [&node, &queue = *queue, r, responder] {
          Limits limits;
          limits.time_ms = number(r->json.get_object(), "time_ms", limits.time_ms);
          limits.rows = static_cast<std::size_t>(
              number(r->json.get_object(), "rows", static_cast<std::int64_t>(limits.rows)));
          auto answer =
              run_sql(*node.log, *node.catalog, &r->tenant(), api::text_member(r->json, "query"),
                      limits, [&queue] { return queue.stopping(); });
          if (!answer) return responder.fail(answer.error());
          responder.send(http::json_response(200, body_of(std::move(*answer))));
        });
      });
}

}  // namespace soma::runtime::query
