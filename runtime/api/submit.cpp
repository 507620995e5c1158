// One way from requests to commands.
#include "runtime/api/submit.h"

#include <openssl/rand.h>

#include <algorithm>

#include "actors/gateway/guardrails.h"
#include "actors/tenant/tenant.h"
#include "events/log.h"
#include "projections/projections.h"
#include "runtime/api/deployment.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::api {

std::string internal_command_id(const std::string& tenant) {
  unsigned char random[16];
  if (RAND_bytes(random, sizeof random) != 1)
    std::abort();  // ids that might repeat would merge two requests
  return tenant + ":auto-" + hex({reinterpret_cast<const char*>(random), sizeof random});
}

std::string command_id_of(const http::Request& request) {
  if (request.idempotency_key.empty()) return internal_command_id(request.tenant());
  const std::string round =
      request.key_round > 1 ? "/" + std::to_string(request.key_round) : std::string();
  return request.tenant() + round + ":" + request.idempotency_key;
}

std::string created_id(std::string_view prefix, const http::Request& request,
                       const std::string& command_id) {
  return std::string(prefix) + "_" + sha256_hex(request.route + "\n" + command_id).substr(0, 24);
}

std::string request_hash_of(const http::Request& request) {
  return sha256_hex(request.method + "\n" + request.path + "\n" + request.body);
}

Submission own_submission(const http::Request& request, ActorKey actor,
                          const google::protobuf::Message& command) {
  Submission s;
  s.actor = std::move(actor);
  s.command = actors::deterministic_bytes(command);
  s.command_id = internal_command_id(request.tenant());
  s.principal = request.principal;
  s.correlation_id = request.request_id;
  s.traceparent = request.traceparent;
  s.once = true;
  return s;
}

Submission make_submission(const http::Request& request, ActorKey actor,
                           const google::protobuf::Message& command, std::string command_id) {
  Submission s = own_submission(request, std::move(actor), command);
  s.command_id = std::move(command_id);
  s.request_hash = request_hash_of(request);
  s.once = request.idempotency_key.empty();
  return s;
}

void add_write_headers(http::Response& response, const Accepted& accepted) {
  response.header("Soma-Position", to_string(accepted.position));
  if (accepted.replayed) response.header("Idempotent-Replayed", "true");
}

http::Response problem_of(const Error& error) {
  return code_disposition(error.code) == Disposition::kRetry ? http::problem_retry(error, 1)
                                                             : http::problem(error);
}

void submit(const Node& node, const RequestPtr& request, const http::Responder& responder,
            Submission submission, std::function<http::Response(const Accepted&)> answer) {
  node.host->submit(std::move(submission),
                    [request, responder, answer = std::move(answer)](Result<Accepted> r) {
                      if (!r) return responder.send(problem_of(r.error()));
                      http::Response response = answer(*r);
                      add_write_headers(response, *r);
                      responder.send(std::move(response));
                    });
}

v1::TenantSettings settings_for(const Node& node, const StateView& tenant) {
  auto settings = actors::effective_settings(static_cast<const v1::TenantState&>(*tenant.state));
  settings.set_deployment_mode(
      actors::stricter_mode(node.deployment->mode(), settings.deployment_mode()));
  return settings;
}

void with_settings(const Node& node, const RequestPtr& request, const http::Responder& responder,
                   std::function<void(v1::TenantSettings)> next) {
  node.host->read(actors::tenant_key(request->tenant()),
                  [&node, responder, next = std::move(next)](Result<StateView> r) {
                    if (!r) return responder.send(http::problem_retry(r.error(), 1));
                    next(settings_for(node, *r));
                  });
}

namespace {

constexpr std::int64_t kLookAgainMs = 2;

bool reached(const Node& node, View view, Position position) {
  switch (view) {
    case View::kMemory:
      return node.memory->wait_for(position, 0);
    case View::kPostgres:
      return node.projections->wait_for(position, 0);
    case View::kJournal:
      break;
  }
  return node.log->end(position.partition) > position.offset;
}

struct PositionWait {
  const Node& node;
  http::Responder responder;
  View view;
  Position position;
  std::int64_t until_ms;  // steady
  std::function<void()> next;
};

void look(const std::shared_ptr<PositionWait>& wait) {
  if (reached(wait->node, wait->view, wait->position)) return wait->node.worker->post(wait->next);
  if (wait->node.clock->steady_ms() >= wait->until_ms)
    return wait->responder.send(http::problem_retry(
        {Code::kUnavailable, "the view has not reached the position yet", {}}, 1));
  wait->node.clock->call_in(kLookAgainMs, [wait] { look(wait); });
}

}  // namespace

void after_position(const Node& node, const RequestPtr& request, const http::Responder& responder,
                    View view, std::function<void()> next) {
  if (view == View::kPostgres && !node.projections)
    return responder.send(http::problem_retry(
        {Code::kUnavailable, "the views' database could not be started, so there are no lists", {}},
        5));
  const auto header = request->headers.get("Soma-Position");
  if (!header) return node.worker->post(std::move(next));
  const auto position = parse_position(*header);
  if (!position || position->partition.value >= node.partition_count)
    return responder.send(http::field_error(
        {"header", "Soma-Position"}, "must be a position that an answer carried", "position"));
  look(std::make_shared<PositionWait>(PositionWait{node, responder, view, *position,
                                                   node.clock->steady_ms() + node.position_wait_ms,
                                                   std::move(next)}));
}

std::vector<std::string> if_match_tags(const http::Request& request) {
  const auto match = request.headers.get("If-Match");
  if (!match || *match == "*") return {};
  std::string_view header = *match;
  std::vector<std::string> out;
  while (!header.empty()) {
    const auto end = std::min(header.find(','), header.size());
    auto tag = header.substr(0, end);
    header.remove_prefix(std::min(end + 1, header.size()));
    while (tag.starts_with(' ') || tag.starts_with('\t')) tag.remove_prefix(1);
    while (tag.ends_with(' ') || tag.ends_with('\t')) tag.remove_suffix(1);
    const bool quoted = tag.size() >= 2 && tag.front() == '"' && tag.back() == '"';
    out.emplace_back(quoted ? tag.substr(1, tag.size() - 2) : "unquoted " + std::string(tag));
  }
  if (out.empty()) out.emplace_back("none");
  return out;
}

http::Field limit_field() {
  return {.name = "limit", .type = http::FieldType::kInt, .min = 1, .max = 200};
}

std::string text_member(const boost::json::value& object, std::string_view name) {
  if (!object.is_object()) return {};
  const auto* v = object.get_object().if_contains(name);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

namespace {

Error bad_metadata(const std::string& name, const char* wanted) {
  return {Code::kInvalidArgument, "metadata." + name + " must be " + wanted,
          "body.metadata." + name};
}

Status take_unit(const boost::json::object& metadata, const std::string& name, double& out) {
  const auto* v = metadata.if_contains(name);
  if (!v) return {};
  const double given = v->is_number() ? v->to_number<double>() : -1;
  if (!(given >= 0 && given <= 1))
    return tl::unexpected(bad_metadata(name, "a number from 0 to 1"));
  out = given;
  return {};
}

}  // namespace

Result<v1::PolicyInput> policy_input(const http::Request& request, const std::string& action,
                                     const std::string& capability) {
  // What a prompt alone tells: low risk, high confidence. A caller may state both, in metadata.
  double risk = 0.1, confidence = 0.9;
  v1::PolicyInput input;
  input.set_action_id(action);
  input.set_capability(capability);
  const auto* metadata =
      request.json.is_object() ? request.json.get_object().if_contains("metadata") : nullptr;
  if (metadata && !metadata->is_null()) {
    if (!metadata->is_object())
      return fail(Code::kInvalidArgument, "metadata must be an object", "body.metadata");
    const auto& given = metadata->get_object();
    if (auto ok = take_unit(given, "risk_score", risk); !ok) return tl::unexpected(ok.error());
    if (auto ok = take_unit(given, "confidence", confidence); !ok)
      return tl::unexpected(ok.error());
    if (const auto* v = given.if_contains("requires_human")) {
      if (!v->is_bool()) return tl::unexpected(bad_metadata("requires_human", "true or false"));
      input.set_requires_human(v->get_bool());
    }
  }
  input.set_risk_score(risk);
  input.set_confidence(confidence);
  return input;
}

}  // namespace soma::runtime::api
