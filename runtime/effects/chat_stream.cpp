// OpenAI's streaming chat format, read strictly: what is not understood is an error, never skipped.
#include "runtime/effects/chat_stream.h"

#include <boost/json.hpp>

#include "runtime/effects/json_reading.h"
#include "runtime/effects/tool_calls.h"
#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"

namespace soma::runtime {

namespace json = boost::json;

namespace {

constexpr std::size_t kMaxShown = 300;  // of what the server said

std::string shown(std::string text) {
  if (text.size() > kMaxShown) {
    std::size_t at = kMaxShown;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    text.resize(at);
    text += "…";
  }
  return text;
}

std::string error_text(const json::value& e) {
  return e.is_string() ? text_of(&e) : text_of(member(e, "message"));
}

// An error object in the middle of a stream; its code is a status where the server gives one.
Error stream_failure(const json::value& e) {
  const auto* code = member(e, "code");
  const auto status = static_cast<long>(number_of(code));
  const std::string said = "the model server reported: " + shown(error_text(e));
  const bool limited = status == 429 || text_of(code) == "rate_limit_exceeded" ||
                       text_of(member(e, "type")) == "rate_limit_error";
  if (limited) return {Code::kRateLimited, said, {}, 0};
  if (status >= 400 && status < 500 && status != 408) return {Code::kInvalidArgument, said, {}, 0};
  return {Code::kModelUnavailable, said, {}, 0};
}

}  // namespace

std::string chat_body(const v1::ModelRequest& request, const std::string& model) {
  json::array messages;
  for (const auto& m : request.messages()) messages.push_back(message_json(m));
  json::object body{{"model", model},
                    {"messages", std::move(messages)},
                    {"stream", true},
                    {"stream_options", {{"include_usage", true}}}};
  if (request.tools_size() > 0) {
    body["tools"] = tools_json(request);
    if (auto choice = read_json(request.tool_choice())) body["tool_choice"] = std::move(*choice);
    if (request.has_parallel_tool_calls())
      body["parallel_tool_calls"] = request.parallel_tool_calls();
  }
  const auto& s = request.sampling();
  if (s.max_tokens()) body["max_tokens"] = s.max_tokens();
  if (s.has_temperature()) body["temperature"] = s.temperature();
  if (s.has_seed()) body["seed"] = s.seed();
  return json_text(body);
}

Error http_failure(long status, std::string_view body) {
  std::string what = "the model server answered " + std::to_string(status);
  if (status == 401 || status == 403)  // its text may repeat parts of the key
    return {Code::kInvalidArgument, what + ": it refuses the configured API key", {}, 0};
  boost::system::error_code bad;
  const json::value v = json::parse(body, bad);
  if (!bad)
    if (const auto* e = member(v, "error"); e && !error_text(*e).empty())
      what += ": " + shown(error_text(*e));
  if (status == 429) return {Code::kRateLimited, what, {}, 0};
  if (status >= 300 && status < 500 && status != 408) return {Code::kInvalidArgument, what, {}, 0};
  return {Code::kModelUnavailable, what, {}, 0};
}

ChatStream::ChatStream(SlmEndpoint endpoint, v1::ModelRequest request, SlmClient::OnToken on_token)
    : endpoint_(std::move(endpoint)),
      request_(std::move(request)),
      on_token_(std::move(on_token)),
      parser_(kMaxEventBytes) {}

void ChatStream::bad(Code code, std::string message) {
  if (!error_) error_ = Error{code, std::move(message), {}, 0};
}

ChatStream::State ChatStream::feed(std::string_view bytes, std::string_view content_type) {
  if (!checked_type_) {
    checked_type_ = true;
    if (!content_type.starts_with("text/event-stream")) not_a_stream_ = " ";
  }
  if (!not_a_stream_.empty()) {  // most likely an error object: read on for its text
    not_a_stream_.append(
        bytes.substr(0, 16 * 1024 - std::min<std::size_t>(16 * 1024, not_a_stream_.size())));
    return State::kOpen;
  }
  if (!parser_.feed(bytes, [this](std::string_view data) { event(data); }))
    bad(Code::kModelUnavailable, "the model server sent an event that is too long");
  return error_ ? State::kBad : done_ ? State::kDone : State::kOpen;
}

void ChatStream::append(std::string_view text) {
  if (text.empty()) return;
  if (!answer_.finish_reason().empty())
    return bad(Code::kModelUnavailable, "the model server sent text after its finish_reason");
  if (answer_.output().size() + tool_call_bytes(answer_) + text.size() > endpoint_.max_answer_bytes)
    return too_large();
  answer_.mutable_output()->append(text);
  answer_.add_chunk_bytes(static_cast<std::uint32_t>(text.size()));
  if (on_token_) on_token_(index_, std::string(text));
  ++index_;
}

void ChatStream::too_large() {
  bad(Code::kTooLarge,
      "the model's answer is over " + std::to_string(endpoint_.max_answer_bytes) + " bytes");
}

void ChatStream::choice(const void* json_value) {
  const auto& c = *static_cast<const json::value*>(json_value);
  if (!c.is_object())
    return bad(Code::kModelUnavailable, "the model server sent a malformed choice");
  if (const auto* index = member(c, "index"); index && number_of(index) != 0)
    return bad(Code::kModelUnavailable, "the model server sent more than one choice");
  if (const auto* delta = member(c, "delta"); delta && !delta->is_null()) {
    if (!delta->is_object())
      return bad(Code::kModelUnavailable, "the model server sent a malformed delta");
    for (const char* name : {"content", "refusal"}) {
      const auto* text = member(*delta, name);
      if (!text || text->is_null()) continue;
      if (!text->is_string())
        return bad(Code::kModelUnavailable, "the model server sent text that is not a string");
      if (name[0] == 'r' && !text->get_string().empty()) answer_.set_refusal(true);
      append(text->get_string());
    }
    if (const auto* calls = member(*delta, "tool_calls");
        calls && !calls->is_null() && request_.tools_size() > 0) {
      if (!answer_.finish_reason().empty())
        return bad(Code::kModelUnavailable,
                   "the model server sent a tool call after its finish_reason");
      if (const std::string wrong = take_tool_calls(answer_, *calls); !wrong.empty())
        return bad(Code::kModelUnavailable, "the model server sent " + wrong);
      if (answer_.output().size() + tool_call_bytes(answer_) > endpoint_.max_answer_bytes)
        return too_large();
    }
  }
  const auto* reason = member(c, "finish_reason");
  if (!reason || reason->is_null()) return;
  if (!reason->is_string() || reason->get_string().empty())
    return bad(Code::kModelUnavailable, "the model server sent a malformed finish_reason");
  answer_.set_finish_reason(text_of(reason));
}

void ChatStream::event(std::string_view data) {
  if (done_ || error_) return;
  if (data == "[DONE]") {
    done_ = true;
    return;
  }
  unsigned char scratch[4096];
  json::monotonic_resource memory(scratch, sizeof scratch);
  boost::system::error_code malformed;
  const json::value v = json::parse(data, malformed, &memory);
  if (malformed || !v.is_object())
    return bad(Code::kModelUnavailable, "the model server sent a malformed frame");
  if (const auto* e = member(v, "error"); e && !e->is_null()) {
    if (!error_) error_ = stream_failure(*e);
    return;
  }
  if (const auto* model = member(v, "model"); model && answer_.model().empty())
    answer_.set_model(text_of(model));
  const auto* usage = member(v, "usage");
  if (usage && usage->is_object()) {
    const auto prompt = tokens_of(member(*usage, "prompt_tokens"));
    const auto completion = tokens_of(member(*usage, "completion_tokens"));
    if (prompt && completion && *prompt + *completion > 0) {  // else it is estimated: none is free
      answer_.mutable_usage()->set_prompt_tokens(*prompt);
      answer_.mutable_usage()->set_completion_tokens(*completion);
    }
  }
  const auto* choices = member(v, "choices");
  if (!choices && usage) return;
  if (!choices || !choices->is_array())
    return bad(Code::kModelUnavailable, "the model server sent a frame without choices");
  for (const auto& c : choices->get_array()) choice(&c);
}

Result<v1::ModelAnswer> ChatStream::finish(std::int64_t latency_ms) {
  if (!not_a_stream_.empty()) {
    boost::system::error_code malformed;
    const json::value v = json::parse(not_a_stream_, malformed);
    if (const auto* e = malformed ? nullptr : member(v, "error"); e && !e->is_null())
      return tl::unexpected(stream_failure(*e));
    return fail(Code::kModelUnavailable, "the model server did not answer with an event stream");
  }
  if (!error_ && !done_ && parser_.unfinished() == "[DONE]")
    done_ = true;  // only its empty line is missing
  if (error_) return tl::unexpected(*error_);
  if (answer_.finish_reason().empty() || !done_)
    return fail(Code::kModelUnavailable, "the model's stream ended before its answer was complete");
  answer_.set_call_id(request_.call_id());
  answer_.set_provider(endpoint_.provider);
  if (answer_.model().empty()) answer_.set_model(endpoint_.model);
  answer_.set_latency_ms(latency_ms);
  if (!answer_.has_usage()) {  // nothing is free: about three bytes a token, and a token a chunk
    std::size_t bytes = 0;
    for (const auto& m : request_.messages()) bytes += m.content().size() + 12;
    std::size_t asked = 0;
    for (const auto& c : answer_.tool_calls()) asked += c.name().size() + c.arguments().size();
    answer_.mutable_usage()->set_prompt_tokens(bytes / 3 + 1);
    answer_.mutable_usage()->set_completion_tokens(
        std::max<std::size_t>(index_, answer_.output().size() / 3) + asked / 3);
    answer_.mutable_usage()->set_estimated(true);
  }
  return std::move(answer_);
}

}  // namespace soma::runtime
