// OpenAI chat completions, plain and streaming, through the same governance as every model call.
#include <boost/json/array.hpp>
#include <mutex>

#include "runtime/api/chat_tools.h"
#include "runtime/api/session_tools.h"
#include "runtime/telemetry/trace.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

// What is asked for and would be left out of the answer is refused, not ignored.
Status check_supported(const json::object& body) {
  const auto refuse = [](const char* name, const char* why) {
    return fail(Code::kInvalidArgument, why, std::string("body.") + name);
  };
  if (const auto* n = body.if_contains("n"); n && n->is_number() && n->to_number<double>() != 1)
    return refuse("n", "only one choice is made; leave n out or give 1");
  for (const char* name : {"functions", "function_call"})
    if (const auto* old = body.if_contains(name); old && !old->is_null())
      return refuse(name, "functions are named as tools here");
  if (const auto* format = body.if_contains("response_format"); format && format->is_object())
    if (const std::string type = text_member(*format, "type"); !type.empty() && type != "text")
      return refuse("response_format", "only text is answered");
  return {};
}

json::object choice(json::object content, const char* name, json::value finish) {
  return {{"index", 0}, {name, std::move(content)}, {"finish_reason", std::move(finish)}};
}

// Tokens as they come; then the rest of the recorded answer, the reason of its end, usage, [DONE].
// The stream begins with its first token, so that what fails before has a status of its own.
class CompletionStream {
 public:
  CompletionStream(std::string id, std::int64_t created_s, std::string model, bool usage_apart,
                   Responder responder)
      : id_(std::move(id)),
        created_s_(created_s),
        model_(std::move(model)),
        usage_apart_(usage_apart),
        responder_(std::move(responder)) {}

  void token(const TokenHub::Token& t) {
    std::lock_guard lock(mutex_);
    if (t.attempt != attempt_ && sent_ == 0) attempt_ = t.attempt;
    if (t.attempt != attempt_ || t.index != next_ || ended_)
      return;  // another attempt is not spliced on
    if (out_ && out_->buffered() > http::EventStream::kMaxBuffered / 2)
      return;  // a slow reader gets the rest with the recorded answer
    if (!begin()) return;
    ++next_;
    sent_ += t.text.size();
    chunk(choice({{"content", t.text}}, "delta", nullptr));
  }

  void end(const Result<Finished>& f) {
    std::lock_guard lock(mutex_);
    ended_ = true;
    const bool done = f && f->state.stage() == v1::INFERENCE_DONE;
    if (!done && !out_)
      return responder_.send(f ? failure_response(f->state) : problem_of(f.error()));
    if (done) model_ = f->state.answer().model();
    if (!begin()) return;
    if (!done) {
      error(f ? f->state.error().code() : std::string(code_name(f.error().code)),
            f ? f->state.error().message() : f.error().message);
    } else if (const auto& a = f->state.answer(); sent_ > 0 && a.attempt() != attempt_) {
      error("restarted",
            "the model began again after a part was sent; ask again with the same Idempotency-Key");
    } else {
      if (a.output().size() > sent_)
        chunk(choice({{"content", a.output().substr(sent_)}}, "delta", nullptr));
      if (auto calls = handed_out(f->state, true); !calls.empty())
        chunk(choice({{"tool_calls", std::move(calls)}}, "delta", nullptr));
      if (auto denied = denied_calls(f->state); !denied.empty())
        chunk(choice(std::move(denied), "delta", nullptr));
      const json::object usage = usage_view(a.usage());
      chunk(choice({}, "delta", json::value(finish_reason(f->state))),
            usage_apart_ ? nullptr : &usage);
      if (usage_apart_) send({}, &usage);
      out_->raw("[DONE]");
    }
    out_->close();
  }
  TokenHub::Subscription subscription;

 private:
  bool begin() {
    if (out_) return true;
    out_ = responder_.stream();
    if (out_) chunk(choice({{"role", "assistant"}, {"content", ""}}, "delta", nullptr));
    return out_ != nullptr;
  }
  void chunk(json::object one, const json::object* usage = nullptr) {
    send(json::array{std::move(one)}, usage);
  }
  void send(json::array choices, const json::object* usage) {
    json::object out{{"id", id_},
                     {"object", "chat.completion.chunk"},
                     {"created", created_s_},
                     {"model", model_},
                     {"choices", std::move(choices)}};
    if (usage) out["usage"] = *usage;
    out_->raw(json_text(out));
  }
  void error(const std::string& code, const std::string& message) {
    out_->raw(json_text(json::object{{"error", {{"code", code}, {"message", message}}}}));
  }

  std::mutex mutex_;
  const std::string id_;
  const std::int64_t created_s_;
  std::string model_;
  const bool usage_apart_;
  const Responder responder_;
  std::shared_ptr<http::EventStream> out_;
  std::uint32_t attempt_ = 1, next_ = 0;
  std::size_t sent_ = 0;
  bool ended_ = false;
};

void chat_stream(const Node& node, const RequestPtr& r, const Responder& responder,
                 v1::ModelRequest request) {
  if (r->idempotency_key.empty())
    r->idempotency_key = "stream-" + random_hex(16);  // one id for the call and its tokens
  const std::string call = call_id_of(command_id_of(*r));
  const auto* options = r->json.get_object().if_contains("stream_options");
  const auto* usage = options && options->is_object()
                          ? options->get_object().if_contains("include_usage")
                          : nullptr;
  auto stream = std::make_shared<CompletionStream>(
      "chatcmpl-" + call, node.clock->now_ms() / 1000, request.model(),
      usage && usage->is_bool() && usage->get_bool(), responder);
  stream->subscription = node.tokens->subscribe(
      call, [weak = std::weak_ptr<CompletionStream>(stream)](const TokenHub::Token& t) {
        if (auto alive = weak.lock()) alive->token(t);
      });
  start_and_wait(node, r, std::move(request), "slm.chat",
                 [stream](Result<Finished> f) { stream->end(f); });
}

json::object message_of(const v1::InferenceState& s) {
  json::object message{{"role", "assistant"}, {"content", s.answer().output()}};
  if (auto calls = handed_out(s, false); !calls.empty()) {
    if (s.answer().output().empty()) message["content"] = nullptr;
    message["tool_calls"] = std::move(calls);
  }
  for (auto& member : denied_calls(s)) message[member.key()] = member.value();
  return message;
}

void chat(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto& body = r->json.get_object();
  if (auto ok = check_supported(body); !ok) return responder.fail(ok.error());
  auto request = chat_request(node, body);
  if (!request) return responder.fail(request.error());
  if (auto ok = read_tool_wishes(body, *request); !ok) return responder.fail(ok.error());
  const auto* streaming = body.if_contains("stream");
  if (streaming && streaming->is_bool() && streaming->get_bool())
    return chat_stream(node, r, responder, std::move(*request));
  start_and_wait(node, r, std::move(*request), "slm.chat", [responder](Result<Finished> f) {
    answer_with(responder, f, [](const v1::InferenceState& s) {
      const auto& a = s.answer();
      return json::object{
          {"id", "chatcmpl-" + a.call_id()},
          {"object", "chat.completion"},
          {"created", s.finished_ms() / 1000},
          {"model", a.model()},
          {"choices", json::array{choice(message_of(s), "message", json::value(finish_reason(s)))}},
          {"usage", usage_view(a.usage())}};
    });
  });
}

}  // namespace

void register_chat(http::Router& router, const Node& node) {
  // Open: OpenAI's clients send members that do not matter here.
  const auto body = http::make_schema(
      "ChatCompletion",
      {{.name = "messages",
        .type = FieldType::kArray,
        .required = true,
        .min_length = 1,
        .max_length = 256,
        .items = FieldType::kObject},
       {.name = "model", .max_length = 200},
       {.name = "max_tokens", .type = FieldType::kInt, .min = 1, .max = 4096, .nullable = true},
       {.name = "max_completion_tokens",
        .type = FieldType::kInt,
        .min = 1,
        .max = 4096,
        .nullable = true},
       {.name = "temperature", .type = FieldType::kNumber, .min = 0, .max = 2, .nullable = true},
       tools_field(),
       {.name = "parallel_tool_calls", .type = FieldType::kBool, .nullable = true},
       {.name = "stream", .type = FieldType::kBool, .nullable = true}},
      true);
  router.add({.method = "POST",
              .pattern = "/v1/chat/completions",
              .capability = "slm:infer",
              .summary = "OpenAI chat completions",
              .tag = "slm",
              .request = body,
              .idempotent_write = true,
              .streaming = true},
             [&node](auto r, auto responder) { chat(node, r, responder); });
}

}  // namespace soma::runtime::api
