// Model requests read from bodies, and their answers shown.
#include "runtime/api/model_requests.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "runtime/api/chat_tools.h"

namespace soma::runtime::api {

namespace json = boost::json;

namespace {

std::string content_of(const json::value& v) {
  if (v.is_string()) return std::string(v.get_string());
  std::string all;  // OpenAI's list of parts
  if (v.is_array())
    for (const auto& part : v.get_array()) all += text_member(part, "text");
  return all;
}

// A node has one provider for each kind of call, so that another that is named could only be
// overlooked: what was meant for the machine itself would go elsewhere.
Status check_provider(const Node& node, const json::object& body, bool embedding) {
  const auto* given = body.if_contains("provider");
  if (!given || given->is_null()) return {};
  const std::string provider = text_member(body, "provider");
  if (provider != "local" && provider != "openai")
    return fail(Code::kInvalidArgument, "provider must be local or openai", "body.provider");
  const auto endpoint = embedding ? node.embedding_endpoint() : node.chat_endpoint();
  // One that is named by its address is always there; a local one may be starting.
  const std::string configured = endpoint                                   ? endpoint->provider
                                 : embedding || !node.chat_provider.empty() ? "local"
                                                                            : "";
  if (provider == configured) return {};
  return fail(Code::kInvalidArgument,
              "provider " + provider + " is not configured here for " +
                  (embedding ? "embeddings" : "chat") +
                  (configured.empty() ? std::string() : "; leave it out or give " + configured),
              "body.provider");
}

// Of a payload that no schema checks, too: more than a tenant may reserve would wait for ever.
Status take_max_tokens(const json::object& body, v1::Sampling& sampling) {
  for (const auto& [name, most] :
       {std::pair{"max_tokens", 4096L}, std::pair{"max_completion_tokens", 1'000'000L}}) {
    const auto* v = body.if_contains(name);
    if (!v || v->is_null()) continue;
    if (!v->is_int64() || v->get_int64() < 1 || v->get_int64() > most)
      return fail(Code::kInvalidArgument,
                  "must be a whole number from 1 to " + std::to_string(most),
                  std::string("body.") + name);
    sampling.set_max_tokens(static_cast<std::uint32_t>(v->get_int64()));
  }
  return {};
}

}  // namespace

Result<v1::ModelRequest> chat_request(const Node& node, const json::object& body) {
  v1::ModelRequest request;
  if (const auto* messages = body.if_contains("messages"); messages && messages->is_array()) {
    for (std::size_t i = 0; i < messages->get_array().size(); ++i) {
      const auto& m = messages->get_array()[i];
      if (!m.is_object())
        return fail(Code::kInvalidArgument, "must be an object with role and content",
                    "body.messages." + std::to_string(i));
      std::string role = text_member(m, "role");
      if (role == "developer") role = "system";  // OpenAI's newer name for it
      const std::string at = "body.messages." + std::to_string(i);
      if (role != "system" && role != "user" && role != "assistant" && role != "tool")
        return fail(Code::kInvalidArgument, "role must be system, user, assistant or tool",
                    at + ".role");
      v1::ChatMessage out;
      out.set_role(role);
      if (const auto* content = m.get_object().if_contains("content"))
        out.set_content(content_of(*content));
      if (auto ok = read_tool_message(m.get_object(), at, request, out); !ok)
        return tl::unexpected(ok.error());
      *request.add_messages() = std::move(out);
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
  if (auto ok = check_provider(node, body, false); !ok) return tl::unexpected(ok.error());
  request.set_model(text_member(body, "model"));
  request.set_mode("chat");
  request.set_allow_length(true);
  if (auto ok = take_max_tokens(body, *request.mutable_sampling()); !ok)
    return tl::unexpected(ok.error());
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

Result<v1::ModelRequest> embed_request(const Node& node, const json::object& body) {
  v1::ModelRequest request;
  if (auto ok = check_provider(node, body, true); !ok) return tl::unexpected(ok.error());
  const char* name = body.contains("text") ? "text" : "input";
  const auto* input = body.if_contains(name);
  const std::string field = std::string("body.") + name;
  const auto add = [&](const json::value& v) {
    if (!v.is_string() || v.get_string().empty()) return false;
    request.add_messages()->set_content(std::string(v.get_string()));
    return true;
  };
  if (input && input->is_array()) {
    if (input->get_array().empty() || input->get_array().size() > kMaxEmbedTexts)
      return fail(Code::kInvalidArgument, "give 1 to 32 texts", field);
    for (const auto& v : input->get_array())
      if (!add(v)) return fail(Code::kInvalidArgument, "each must be a text, not empty", field);
  } else if (!input || !add(*input)) {
    return fail(Code::kInvalidArgument, "give a text that is not empty", field);
  }
  request.set_model(text_member(body, "model"));
  request.set_mode("embedding");
  return request;
}

json::object usage_view(const v1::TokenUsage& u) {
  return {{"prompt_tokens", u.prompt_tokens()},
          {"completion_tokens", u.completion_tokens()},
          {"total_tokens", u.prompt_tokens() + u.completion_tokens()}};
}

json::object infer_view(const v1::ModelAnswer& a) {
  return {{"model", a.model()},
          {"provider", a.provider()},
          {"output", a.output()},
          {"tokens_used", a.usage().prompt_tokens() + a.usage().completion_tokens()},
          {"usage", usage_view(a.usage())},
          {"latency_ms", a.latency_ms()},
          {"refusal", a.refusal()},
          {"finish_reason", a.finish_reason()}};
}

json::array vector_view(const v1::Embedding& e) {
  json::array out;
  out.reserve(static_cast<std::size_t>(e.values_size()));
  for (float x : e.values()) out.push_back(static_cast<double>(x));
  return out;
}

json::object embedding_view(const v1::EmbedResult& result) {
  const auto& first = result.embeddings(0);
  return {
      {"model", first.model()}, {"embedding", vector_view(first)}, {"dim", first.values_size()}};
}

void answer_with(const http::Responder& responder, const Result<Finished>& f,
                 const std::function<json::object(const v1::InferenceState&)>& view) {
  if (!f) return responder.send(problem_of(f.error()));
  auto response = f->state.stage() == v1::INFERENCE_DONE ? http::json_response(200, view(f->state))
                                                         : failure_response(f->state);
  add_write_headers(response, f->accepted);
  responder.send(std::move(response));
}

}  // namespace soma::runtime::api
