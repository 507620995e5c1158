// Model calls outside a session: infer_sync, embeddings, requests answered later; governed,
// recorded.
#include <bit>
#include <boost/json/array.hpp>
#include <cstring>

#include "runtime/api/governed.h"
#include "runtime/api/model_requests.h"
#include "runtime/api/pages.h"
#include "runtime/api/views.h"
#include "schemas/base/base64.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

void infer(const Node& node, const RequestPtr& r, const Responder& responder) {
  auto request = chat_request(node, r->json.get_object());
  if (!request) return responder.fail(request.error());
  start_and_wait(node, r, std::move(*request), "slm.infer", [responder](Result<Finished> f) {
    answer_with(responder, f, [](const v1::InferenceState& s) { return infer_view(s.answer()); });
  });
}

// The vectors as OpenAI lists them; `packed`: base64 of little-endian floats, as its clients ask.
json::object list_view(const v1::EmbedResult& result, bool packed) {
  json::array data;
  for (int i = 0; i < result.embeddings_size(); ++i) {
    const auto& e = result.embeddings(i);
    json::value vector;
    if (packed) {
      static_assert(std::endian::native == std::endian::little);
      std::string bytes(static_cast<std::size_t>(e.values_size()) * sizeof(float), '\0');
      std::memcpy(bytes.data(), e.values().data(), bytes.size());
      vector = json::value(base64(bytes));
    } else {
      vector = vector_view(e);
    }
    data.push_back({{"object", "embedding"}, {"index", i}, {"embedding", std::move(vector)}});
  }
  json::object out = embedding_view(result);
  out["object"] = "list";
  out["data"] = std::move(data);
  out["usage"] = {{"prompt_tokens", result.prompt_tokens()},
                  {"total_tokens", result.prompt_tokens()}};
  return out;
}

void embedding(const Node& node, const RequestPtr& r, const Responder& responder, bool list) {
  const auto& body = r->json.get_object();
  auto request = embed_request(node, body);
  if (!request) return responder.fail(request.error());
  const bool packed = list && text_member(body, "encoding_format") == "base64";
  start_and_wait(node, r, std::move(*request), "slm.embed",
                 [responder, list, packed](Result<Finished> f) {
                   answer_with(responder, f, [&](const v1::InferenceState& s) {
                     return list ? list_view(s.embedded(), packed) : embedding_view(s.embedded());
                   });
                 });
}

void queue(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto& body = r->json.get_object();
  json::object payload = body.at("payload").get_object();
  for (const char* name : {"model", "provider"})
    if (const auto* v = body.if_contains(name); v && !payload.contains(name)) payload[name] = *v;
  const bool embed = text_member(body, "mode") == "embedding";
  auto request = embed ? embed_request(node, payload) : chat_request(node, payload);
  if (!request) {
    Error error = request.error();
    if (error.field.starts_with("body.") && error.field != "body.provider")
      error.field.insert(5, "payload.");
    return responder.fail(error);
  }
  start_inference(node, r, std::move(*request), embed ? "slm.embed" : "slm.infer", "req",
                  [responder](Result<Started> started) {
                    if (!started) return responder.send(problem_of(started.error()));
                    auto response = http::json_response(
                        202, json::object{{"request_id", started->actor.id}, {"status", "queued"}});
                    add_write_headers(response, started->accepted);
                    responder.send(std::move(response));
                  });
}

void look_up(const Node& node, const RequestPtr& r, const Responder& responder) {
  node.host->read(inference_key(r->tenant(), r->param("id")), [r,
                                                               responder](Result<StateView> view) {
    if (!view) return responder.send(problem_of(view.error()));
    const auto& s = static_cast<const v1::InferenceState&>(*view->state);
    if (s.stage() == v1::INFERENCE_STAGE_UNSPECIFIED)
      return responder.fail({Code::kNotFound, "Request not found", {}});
    json::object out{{"request_id", r->param("id")}, {"status", "pending"}, {"result", nullptr}};
    if (s.stage() == v1::INFERENCE_DONE) {
      out["status"] = "completed";
      out["result"] = s.has_embedded() ? embedding_view(s.embedded()) : infer_view(s.answer());
    } else if (s.stage() == v1::INFERENCE_FAILED) {
      out["status"] = "error";
      out["error"] = views::failure(s.error());
    }
    responder.send(http::json_response(200, out));
  });
}

void register_requests(http::Router& router, const Node& node) {
  const auto body = http::make_schema(
      "SlmRequest", {{.name = "mode", .required = true, .one_of = {"infer_sync", "embedding"}},
                     {.name = "provider", .max_length = 100},
                     {.name = "model", .max_length = 200},
                     {.name = "payload", .type = FieldType::kObject, .required = true}});
  router.add({.method = "POST",
              .pattern = "/v1/requests",
              .capability = "slm:infer",
              .summary = "Ask the model and fetch the answer later",
              .tag = "slm",
              .request = body,
              .responses = {{.status = 202}},
              .idempotent_write = true},
             [&node](auto r, auto responder) { queue(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/requests/{id}",
              .capability = "slm:read",
              .summary = "What became of a request",
              .tag = "slm"},
             [&node](auto r, auto responder) { look_up(node, r, responder); });
}

// As OpenAI lists them, and in pages as every list of ours.
void models(const Node& node, const RequestPtr& r, const Responder& responder) {
  json::array data;
  for (const auto& endpoint : {node.chat_endpoint(), node.embedding_endpoint()})
    if (endpoint)
      data.push_back({{"id", endpoint->model},
                      {"object", "model"},
                      {"created", 0},
                      {"owned_by", endpoint->provider}});
  responder.send(page_of(*r, std::move(data), "id", "data", {{"object", "list"}}));
}

}  // namespace

void register_inference(http::Router& router, const Node& node) {
  const http::Field model{.name = "model", .max_length = 200},
      provider{.name = "provider", .max_length = 100};
  const auto infer_body = http::make_schema(
      "InferSync", {{.name = "prompt"},
                    {.name = "input"},
                    {.name = "messages",
                     .type = FieldType::kArray,
                     .min_length = 1,
                     .max_length = 256,
                     .items = FieldType::kObject},
                    model,
                    role_field(),
                    provider,
                    {.name = "max_tokens", .type = FieldType::kInt, .min = 1, .max = 4096},
                    {.name = "temperature", .type = FieldType::kNumber, .min = 0, .max = 2},
                    {.name = "metadata", .type = FieldType::kObject}});
  const http::Field text{.name = "text"},
      input{.name = "input", .type = FieldType::kAny, .description = "A text, or up to 32"},
      encoding{.name = "encoding_format", .one_of = {"float", "base64"}};
  const auto embed_body = http::make_schema("Embedding", {text, input, model, provider});
  // OpenAI's own, whose clients send what we do not know.
  const auto embeddings_body =
      http::make_schema("Embeddings", {text, input, model, provider, encoding}, true);
  for (const char* path : {"/v1/infer_sync", "/v1/infer/sync", "/infer_sync"})
    router.add({.method = "POST",
                .pattern = path,
                .capability = "slm:infer",
                .summary = "Ask the model and wait",
                .tag = "slm",
                .request = infer_body,
                .idempotent_write = true},
               [&node](auto r, auto responder) { infer(node, r, responder); });
  for (const char* path : {"/v1/embedding", "/embedding", "/v1/embeddings"}) {
    const bool list = std::string_view(path) == "/v1/embeddings";
    router.add({.method = "POST",
                .pattern = path,
                .capability = "slm:embed",
                .summary = list ? "OpenAI embeddings" : "Embed a text",
                .tag = "slm",
                .request = list ? embeddings_body : embed_body,
                .idempotent_write = true},
               [&node, list](auto r, auto responder) { embedding(node, r, responder, list); });
  }
  router.add({.method = "GET",
              .pattern = "/v1/models",
              .capability = "slm:read",
              .summary = "Models that answer now",
              .tag = "slm",
              .query = page_fields()},
             [&node](auto r, auto responder) { models(node, r, responder); });
  register_requests(router, node);
  register_chat(router, node);
}

}  // namespace soma::runtime::api
