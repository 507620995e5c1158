// Model calls outside a session: infer_sync, embeddings, and OpenAI's routes, all governed and
// recorded.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "runtime/api/inference_wait.h"
#include "runtime/api/views.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

std::string content_of(const json::value& v) {
  if (v.is_string()) return std::string(v.get_string());
  std::string all;  // OpenAI's list of parts
  if (v.is_array())
    for (const auto& part : v.get_array()) all += text_member(part, "text");
  return all;
}

Result<v1::ModelRequest> request_of(const http::Request& r) {
  v1::ModelRequest request;
  const auto& body = r.json.get_object();
  if (const auto* messages = body.if_contains("messages"); messages && messages->is_array()) {
    for (std::size_t i = 0; i < messages->get_array().size(); ++i) {
      const auto& m = messages->get_array()[i];
      const std::string role = text_member(m, "role");
      if (role != "system" && role != "user" && role != "assistant")
        return fail(Code::kInvalidArgument, "role must be system, user or assistant",
                    "body.messages." + std::to_string(i) + ".role");
      auto* out = request.add_messages();
      out->set_role(role);
      if (const auto* content = m.get_object().if_contains("content"))
        out->set_content(content_of(*content));
    }
  } else {
    std::string prompt = text_member(body, "prompt");
    if (prompt.empty()) prompt = text_member(body, "input");
    if (prompt.empty())
      return fail(Code::kInvalidArgument, "give prompt, input or messages", "body.prompt");
    auto* m = request.add_messages();
    m->set_role("user");
    m->set_content(prompt);
  }
  if (const std::string provider = text_member(body, "provider");
      !provider.empty() && provider != "local" && provider != "openai")
    return fail(Code::kInvalidArgument, "provider must be local or openai", "body.provider");
  request.set_model(text_member(body, "model"));
  request.set_mode("chat");
  request.set_allow_length(true);
  for (const char* name : {"max_tokens", "max_completion_tokens"})
    if (const auto* v = body.if_contains(name); v && v->is_int64())
      request.mutable_sampling()->set_max_tokens(static_cast<std::uint32_t>(v->get_int64()));
  if (const auto* v = body.if_contains("temperature"); v && v->is_number()) {
    request.mutable_sampling()->set_temperature(v->to_number<double>());
    request.mutable_sampling()->set_has_temperature(true);
  }
  if (const auto* v = body.if_contains("seed"); v && v->is_int64()) {
    request.mutable_sampling()->set_seed(static_cast<std::uint64_t>(v->get_int64()));
    request.mutable_sampling()->set_has_seed(true);
  }
  return request;
}

json::object usage_of(const v1::TokenUsage& u) {
  return {{"prompt_tokens", u.prompt_tokens()},
          {"completion_tokens", u.completion_tokens()},
          {"total_tokens", u.prompt_tokens() + u.completion_tokens()}};
}

void answer(const Responder& responder, const Result<Finished>& f,
            const std::function<json::object(const v1::ModelAnswer&)>& view) {
  if (!f) return responder.send(problem_of(f.error()));
  auto response = f->state.stage() == v1::INFERENCE_DONE
                      ? http::json_response(200, view(f->state.answer()))
                      : failure_response(f->state.error());
  add_write_headers(response, f->accepted);
  responder.send(std::move(response));
}

void infer(const Node& node, const RequestPtr& r, const Responder& responder) {
  auto request = request_of(*r);
  if (!request) return responder.fail(request.error());
  start_and_wait(node, r, std::move(*request), "slm.infer", [responder](Result<Finished> f) {
    answer(responder, f, [](const v1::ModelAnswer& a) {
      return json::object{
          {"model", a.model()},
          {"provider", a.provider()},
          {"output", a.output()},
          {"tokens_used", a.usage().prompt_tokens() + a.usage().completion_tokens()},
          {"usage", usage_of(a.usage())},
          {"latency_ms", a.latency_ms()},
          {"refusal", a.refusal()},
          {"finish_reason", a.finish_reason()}};
    });
  });
}

json::object chunk(const std::string& id, const std::string& model, json::object delta,
                   json::value finish) {
  return {{"id", id},
          {"object", "chat.completion.chunk"},
          {"model", model},
          {"choices",
           json::array{json::object{
               {"index", 0}, {"delta", std::move(delta)}, {"finish_reason", std::move(finish)}}}}};
}

// Tokens as they come; then the rest of the recorded answer, the reason of its end, usage, [DONE].
class CompletionStream {
 public:
  CompletionStream(std::string id, std::shared_ptr<http::EventStream> out)
      : id_(std::move(id)), out_(std::move(out)) {}
  void token(const TokenHub::Token& t) {
    std::lock_guard lock(mutex_);
    if (t.attempt != attempt_ && sent_ == 0) attempt_ = t.attempt;
    if (t.attempt != attempt_ || t.index != next_ || ended_)
      return;  // another attempt is not spliced on
    ++next_;
    sent_ += t.text.size();
    out_->raw(json::serialize(chunk(id_, {}, {{"content", t.text}}, nullptr)));
  }
  void end(const Result<Finished>& f) {
    std::lock_guard lock(mutex_);
    ended_ = true;
    if (!f || f->state.stage() != v1::INFERENCE_DONE) {
      error(f ? f->state.error().code() : std::string(code_name(f.error().code)),
            f ? f->state.error().message() : f.error().message);
    } else if (const auto& a = f->state.answer(); sent_ > 0 && a.attempt() != attempt_) {
      error("restarted",
            "the model began again after a part was sent; ask again with the same Idempotency-Key");
    } else {
      if (a.output().size() > sent_)
        out_->raw(json::serialize(
            chunk(id_, a.model(), {{"content", a.output().substr(sent_)}}, nullptr)));
      auto last = chunk(id_, a.model(), {}, json::value(a.finish_reason()));
      last["usage"] = usage_of(a.usage());
      out_->raw(json::serialize(last));
      out_->raw("[DONE]");
    }
    out_->close();
  }
  TokenHub::Subscription subscription;

 private:
  void error(const std::string& code, const std::string& message) {
    out_->raw(json::serialize(json::object{{"error", {{"code", code}, {"message", message}}}}));
  }
  std::mutex mutex_;
  const std::string id_;
  const std::shared_ptr<http::EventStream> out_;
  std::uint32_t attempt_ = 1, next_ = 0;
  std::size_t sent_ = 0;
  bool ended_ = false;
};

void chat_stream(const Node& node, const RequestPtr& r, const Responder& responder,
                 v1::ModelRequest request) {
  if (r->idempotency_key.empty())
    r->idempotency_key = "stream-" + r->request_id;  // one id for the call and its tokens
  const std::string call = call_id_of(command_id_of(*r));
  auto out = responder.stream();
  if (!out) return;
  auto stream = std::make_shared<CompletionStream>("chatcmpl-" + call, out);
  stream->subscription = node.tokens->subscribe(
      call, [weak = std::weak_ptr<CompletionStream>(stream)](const TokenHub::Token& t) {
        if (auto alive = weak.lock()) alive->token(t);
      });
  start_and_wait(node, r, std::move(request), "slm.chat",
                 [stream](Result<Finished> f) { stream->end(f); });
}

void chat(const Node& node, const RequestPtr& r, const Responder& responder) {
  auto request = request_of(*r);
  if (!request) return responder.fail(request.error());
  const auto* streaming = r->json.get_object().if_contains("stream");
  if (streaming && streaming->is_bool() && streaming->get_bool())
    return chat_stream(node, r, responder, std::move(*request));
  start_and_wait(node, r, std::move(*request), "slm.chat", [responder, &node](Result<Finished> f) {
    answer(responder, f, [&](const v1::ModelAnswer& a) {
      return json::object{
          {"id", "chatcmpl-" + a.call_id()},
          {"object", "chat.completion"},
          {"created", f->state.finished_ms() / 1000},
          {"model", a.model()},
          {"choices",
           json::array{json::object{{"index", 0},
                                    {"message", {{"role", "assistant"}, {"content", a.output()}}},
                                    {"finish_reason", a.finish_reason()}}}},
          {"usage", usage_of(a.usage())}};
    });
  });
}

void embedding(const Node& node, const RequestPtr& r, const Responder& responder, bool openai) {
  const auto& body = r->json.get_object();
  std::vector<std::string> texts;
  if (const auto* input = body.if_contains("input"); input && input->is_array())
    for (const auto& t : input->get_array())
      texts.push_back(t.is_string() ? std::string(t.get_string()) : "");
  else
    texts.push_back(!text_member(body, "text").empty() ? text_member(body, "text")
                                                       : text_member(body, "input"));
  for (const auto& text : texts)
    if (text.empty())
      return responder.send(http::field_error({"body", openai ? "input" : "text"},
                                              "give a text, or texts none of which is empty",
                                              "too_short"));
  if (texts.empty() || texts.size() > 32)
    return responder.send(http::field_error({"body", "input"}, "give 1 to 32 texts", "too_long"));
  auto endpoint = node.embedding_endpoint();
  if (!endpoint) return responder.send(http::problem_retry(endpoint.error(), 1));
  node.slm->embed(*endpoint, texts,
                  [responder, openai, name = endpoint->model](Result<v1::EmbedResult> result) {
                    if (!result) return responder.send(http::problem_retry(result.error(), 1));
                    const auto values = [](const v1::Embedding& e) {
                      json::array out;
                      for (float x : e.values()) out.push_back(static_cast<double>(x));
                      return out;
                    };
                    if (!openai)
                      return responder.send(http::json_response(
                          200, json::object{{"model", name},
                                            {"embedding", values(result->embeddings(0))},
                                            {"dim", result->embeddings(0).values_size()}}));
                    json::array data;
                    for (int i = 0; i < result->embeddings_size(); ++i)
                      data.push_back({{"object", "embedding"},
                                      {"index", i},
                                      {"embedding", values(result->embeddings(i))}});
                    responder.send(http::json_response(
                        200, json::object{{"object", "list"},
                                          {"model", name},
                                          {"data", std::move(data)},
                                          {"embedding", values(result->embeddings(0))},
                                          {"dim", result->embeddings(0).values_size()},
                                          {"usage",
                                           {{"prompt_tokens", result->prompt_tokens()},
                                            {"total_tokens", result->prompt_tokens()}}}}));
                  });
}

}  // namespace

void register_inference(http::Router& router, const Node& node) {
  const http::Field model{.name = "model", .max_length = 200}, provider{.name = "provider"};
  const http::Field max_tokens{
      .name = "max_tokens", .type = FieldType::kInt, .min = 1, .max = 4096};
  const http::Field temperature{
      .name = "temperature", .type = FieldType::kNumber, .min = 0, .max = 2};
  const http::Field messages{.name = "messages",
                             .type = FieldType::kArray,
                             .min_length = 1,
                             .max_length = 256,
                             .items = FieldType::kObject};
  const auto infer_body =
      http::make_schema("InferSync", {{.name = "prompt"},
                                      {.name = "input"},
                                      messages,
                                      model,
                                      provider,
                                      max_tokens,
                                      temperature,
                                      {.name = "metadata", .type = FieldType::kObject}});
  http::Field required = messages;
  required.required = true;
  // Open: OpenAI's clients send members that do not matter here.
  const auto chat_body = http::make_schema(
      "ChatCompletion",
      {required, model, max_tokens, temperature, {.name = "stream", .type = FieldType::kBool}},
      true);
  const auto embed_body = http::make_schema(
      "Embedding", {{.name = "text"}, {.name = "input", .type = FieldType::kAny}, model}, true);
  for (const char* path : {"/v1/infer_sync", "/v1/infer/sync", "/infer_sync"})
    router.add({.method = "POST",
                .pattern = path,
                .capability = "slm:infer",
                .summary = "Ask the model and wait",
                .tag = "slm",
                .request = infer_body,
                .idempotent_write = true},
               [&node](auto r, auto responder) { infer(node, r, responder); });
  router.add({.method = "POST",
              .pattern = "/v1/chat/completions",
              .capability = "slm:infer",
              .summary = "OpenAI chat completions",
              .tag = "slm",
              .request = chat_body,
              .idempotent_write = true,
              .streaming = true},
             [&node](auto r, auto responder) { chat(node, r, responder); });
  for (const char* path : {"/v1/embedding", "/embedding"})
    router.add({.method = "POST",
                .pattern = path,
                .capability = "slm:embed",
                .summary = "Embed a text",
                .tag = "slm",
                .request = embed_body},
               [&node](auto r, auto responder) { embedding(node, r, responder, false); });
  router.add({.method = "POST",
              .pattern = "/v1/embeddings",
              .capability = "slm:embed",
              .summary = "OpenAI embeddings",
              .tag = "slm",
              .request = embed_body},
             [&node](auto r, auto responder) { embedding(node, r, responder, true); });
  router.add(
      {.method = "GET",
       .pattern = "/v1/models",
       .capability = "slm:read",
       .summary = "Models that answer now",
       .tag = "slm"},
      [&node](auto, auto responder) {
        json::array data;
        for (const auto& endpoint : {node.chat_endpoint(), node.embedding_endpoint()})
          if (endpoint)
            data.push_back(
                {{"id", endpoint->model}, {"object", "model"}, {"owned_by", endpoint->provider}});
        responder.send(
            http::json_response(200, json::object{{"object", "list"}, {"data", std::move(data)}}));
      });
}

}  // namespace soma::runtime::api
