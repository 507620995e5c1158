// A route for benchmarks alone, in developer modes: a durable counter with nothing around it.
#include "runtime/api/deployment.h"
#include "runtime/api/submit.h"
#include "runtime/security/authenticator.h"
#include "soma/v1/counter.pb.h"

namespace soma::runtime::api {

namespace json = boost::json;

namespace {

constexpr std::int64_t kMaxAmount = 1'000'000;

void add(const Node& node, const RequestPtr& r, const http::Responder& responder) {
  // The mode may have become another since the start.
  if (!security::is_developer_mode(node.deployment->mode()))
    return responder.fail({Code::kNotFound, "this route is served in developer modes only", {}});
  v1::CounterCommand command;
  const auto* amount = r->json.get_object().if_contains("amount");
  command.mutable_add()->set_amount(amount ? amount->to_number<std::int64_t>() : 1);
  submit(
      node, r, responder,
      make_submission(*r, {r->tenant(), "counter", r->param("id"), {}}, command, command_id_of(*r)),
      [](const Accepted& a) {
        v1::CounterReply reply;
        reply.ParseFromString(a.reply);
        return http::json_response(200, json::object{{"value", reply.value()}});
      });
}

}  // namespace

void register_bench(http::Router& router, const Node& node) {
  if (!security::is_developer_mode(node.deployment->setting())) return;
  const auto body = http::make_schema(
      "BenchAdd",
      {{.name = "amount", .type = http::FieldType::kInt, .min = -kMaxAmount, .max = kMaxAmount}});
  router.add({.method = "POST",
              .pattern = "/v1/bench/counter/{id}/add",
              .capability = "bench:run",
              .summary = "Add to a durable counter; for benchmarks, in developer modes only",
              .tag = "bench",
              .request = body,
              .idempotent_write = true},
             [&node](auto r, auto responder) { add(node, r, responder); });
}

}  // namespace soma::runtime::api
