// OpenAI's answers, right and wrong.
#include "tests/support/upstream_answers.h"

#include <boost/json.hpp>
#include <cstdio>

namespace soma::test {

namespace json = boost::json;

namespace {

std::string chunk(const std::string& bytes) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}
std::string event(const std::string& data) { return chunk("data: " + data + "\n\n"); }

std::string frame(const std::string& model, const json::object& delta, const char* finish) {
  return json::serialize(json::object{
      {"id", "chatcmpl-script"},
      {"object", "chat.completion.chunk"},
      {"created", 1},
      {"model", model},
      {"choices",
       {json::object{{"index", 0},
                     {"delta", delta},
                     {"finish_reason", finish ? json::value(finish) : json::value()}}}}});
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  for (const char c : text) {
    if (out.empty() || c == ' ') out.emplace_back();
    out.back() += c;
  }
  return out;
}

// Steps so far are one step where nothing waits between them: one write for a whole answer.
void add(Plan& plan, int after_ms, std::string bytes) {
  if (after_ms == 0 && !plan.steps.empty())
    plan.steps.back().bytes += bytes;
  else
    plan.steps.push_back({after_ms, std::move(bytes)});
}

std::string error_body(const std::string& text, int status) {
  return json::serialize(
      json::object{{"error", {{"message", text}, {"type", "scripted"}, {"code", status}}}});
}

std::string model_of(const json::object& request) {
  const auto* model = request.if_contains("model");
  return model && model->is_string() ? std::string(model->get_string()) : std::string();
}

struct Asked {
  std::string model = "scripted", last_user, last_role;
  bool stream = false;
  std::size_t prompt_tokens = 0;
};

Asked read_chat(const std::string& body) {
  Asked a;
  boost::system::error_code bad;
  const json::value v = json::parse(body, bad);
  if (bad || !v.is_object()) return a;
  const auto& o = v.get_object();
  if (auto model = model_of(o); !model.empty()) a.model = std::move(model);
  if (const auto* s = o.if_contains("stream"); s && s->is_bool()) a.stream = s->get_bool();
  if (const auto* list = o.if_contains("messages"); list && list->is_array())
    for (const auto& m : list->get_array()) {
      const auto* role = m.is_object() ? m.get_object().if_contains("role") : nullptr;
      a.last_role = role && role->is_string() ? std::string(role->get_string()) : std::string();
      const auto* content = m.is_object() ? m.get_object().if_contains("content") : nullptr;
      if (!content || !content->is_string()) continue;
      a.last_user = std::string(content->get_string());
      a.prompt_tokens += words(a.last_user).size();
    }
  return a;
}

json::object usage(const Asked& asked, std::size_t completion) {
  return {{"prompt_tokens", asked.prompt_tokens},
          {"completion_tokens", completion},
          {"total_tokens", asked.prompt_tokens + completion}};
}

// As deltas: the name whole, the arguments in pieces.
std::vector<json::object> call_deltas(const Behaviour& b) {
  constexpr std::size_t kPiece = 7;
  std::vector<json::object> out;
  const auto add = [&](std::size_t index, json::object call) {
    call["index"] = index;
    out.push_back({{"tool_calls", json::array{std::move(call)}}});
  };
  for (std::size_t i = 0; i < b.tool_calls.size(); ++i) {
    const auto space = b.tool_calls[i].find(' ');
    const std::string arguments =
        space == std::string::npos ? "" : b.tool_calls[i].substr(space + 1);
    add(i, {{"id", "call_script"},
            {"type", "function"},
            {"function", {{"name", b.tool_calls[i].substr(0, space)}, {"arguments", ""}}}});
    for (std::size_t at = 0; at < arguments.size(); at += kPiece)
      add(i, {{"function", {{"arguments", arguments.substr(at, kPiece)}}}});
  }
  return out;
}

Plan whole_plan(const Behaviour& b, const Asked& asked, const std::vector<std::string>& tokens) {
  std::string text;
  for (const auto& t : tokens) text += t;
  json::object body{{"id", "chatcmpl-script"},
                    {"object", "chat.completion"},
                    {"model", asked.model},
                    {"choices",
                     {json::object{{"index", 0},
                                   {"message", {{"role", "assistant"}, {"content", text}}},
                                   {"finish_reason", b.finish_reason}}}}};
  if (b.usage) body["usage"] = usage(asked, tokens.size());
  Plan plan;
  plan.steps.push_back({b.delay_ms, plain_response(200, json::serialize(body))});
  return plan;
}

}  // namespace

std::string plain_response(int status, const std::string& body, const char* type,
                           int retry_after_s) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " Scripted\r\nContent-Type: " + type +
                    "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  if (retry_after_s) out += "Retry-After: " + std::to_string(retry_after_s) + "\r\n";
  return out + "\r\n" + body;
}

std::string asked_model(const std::string& request_body) {
  boost::system::error_code bad;
  const json::value v = json::parse(request_body, bad);
  return bad || !v.is_object() ? std::string() : model_of(v.get_object());
}

Plan chat_plan(const Behaviour& b, const std::string& request_body) {
  Plan plan;
  if (b.status != 200) {
    plan.steps.push_back(
        {b.delay_ms, plain_response(b.status, b.text.empty() ? "" : error_body(b.text, b.status),
                                    "application/json", b.retry_after_s)});
    return plan;
  }
  const Asked asked = read_chat(request_body);
  const bool calls = !b.tool_calls.empty() && (b.insists || asked.last_role != "tool");
  const std::vector<std::string> tokens = calls    ? std::vector<std::string>()
                                          : b.echo ? words(asked.last_user)
                                                   : b.tokens;
  if (!asked.stream || !b.streams) return whole_plan(b, asked, tokens);
  plan.steps.push_back(
      {b.delay_ms,
       "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" +
           event(frame(asked.model, {{"role", "assistant"}, {"content", nullptr}}, nullptr))});
  int sent = 0;
  for (std::size_t i = 0; i <= tokens.size(); ++i, ++sent) {
    if (b.cut_after == sent || b.stall_after == sent) {
      plan.end = b.cut_after == sent ? Plan::End::kClose : Plan::End::kStall;
      return plan;
    }
    if (b.malformed_after == sent)
      add(plan, 0, event("{\"choices\": [{\"delta\": {\"content\": \"tor"));
    if (b.error_after == sent)
      add(plan, 0, event(error_body(b.text.empty() ? "scripted failure" : b.text, 500)));
    if (i < tokens.size())
      add(plan, b.token_delay_ms, event(frame(asked.model, {{"content", tokens[i]}}, nullptr)));
  }
  if (calls)
    for (const auto& delta : call_deltas(b))
      add(plan, 0, event(frame(asked.model, delta, nullptr)));
  if (!b.finish_reason.empty())
    add(plan, 0, event(frame(asked.model, {}, calls ? "tool_calls" : b.finish_reason.c_str())));
  for (int i = 0; i < b.late_text; ++i)
    add(plan, 0, event(frame(asked.model, {{"content", "late"}}, nullptr)));
  if (b.usage)
    add(plan, 0,
        event(json::serialize(json::object{{"object", "chat.completion.chunk"},
                                           {"model", asked.model},
                                           {"choices", json::array{}},
                                           {"usage", usage(asked, tokens.size())}})));
  if (b.done) add(plan, 0, event("[DONE]"));
  add(plan, 0, "0\r\n\r\n");
  return plan;
}

Plan embeddings_plan(const Behaviour& b, const std::string& request_body) {
  Plan plan;
  if (b.stall_after == 0 || b.cut_after == 0) {
    plan.end = b.cut_after == 0 ? Plan::End::kClose : Plan::End::kStall;
    return plan;
  }
  std::string response;
  if (b.status != 200) {
    response = plain_response(b.status, b.text.empty() ? "" : error_body(b.text, b.status),
                              "application/json", b.retry_after_s);
  } else if (b.malformed_after == 0) {
    response = plain_response(200, "{\"data\": [{\"embedding\": [1, ");
  } else {
    boost::system::error_code bad;
    const json::value v = json::parse(request_body, bad);
    const auto* input = !bad && v.is_object() ? v.get_object().if_contains("input") : nullptr;
    json::array texts = input && input->is_array() ? input->get_array()
                        : input                    ? json::array{*input}
                                                   : json::array{};
    json::array data;
    for (const auto& t : texts) {
      const auto vector = hash_embedding(
          t.is_string() ? std::string_view(t.get_string()) : std::string_view(), b.dimensions);
      data.push_back({{"object", "embedding"},
                      {"index", data.size()},
                      {"embedding", json::array(vector.begin(), vector.end())}});
    }
    response = plain_response(
        200, json::serialize(json::object{
                 {"object", "list"},
                 {"model", "scripted-embedding"},
                 {"data", data},
                 {"usage", {{"prompt_tokens", texts.size()}, {"total_tokens", texts.size()}}}}));
  }
  plan.steps.push_back({b.delay_ms, std::move(response)});
  return plan;
}

}  // namespace soma::test
