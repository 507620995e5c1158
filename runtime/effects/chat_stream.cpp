// OpenAI's wire format, read strictly.
#include "runtime/effects/chat_stream.h"

#include <boost/json.hpp>
#include <cmath>

namespace soma::runtime {

namespace json = boost::json;

namespace {

const json::value* member(const json::value& v, std::string_view name) {
  return v.is_object() ? v.get_object().if_contains(name) : nullptr;
}
std::string text_of(const json::value* v) { return v && v->is_string() ? std::string(v->get_string()) : std::string(); }
std::uint64_t number_of(const json::value* v) {
  return v && v->is_number() ? v->to_number<std::uint64_t>() : 0;
}

}  // namespace

std::string chat_body(const v1::ModelRequest& request, const std::string& model) {
  json::array messages;
  for (const auto& m : request.messages()) messages.push_back({{"role", m.role()}, {"content", m.content()}});
  json::object body{{"model", model},
                    {"messages", std::move(messages)},
                    {"stream", true},
                    {"stream_options", {{"include_usage", true}}}};
  const auto& s = request.sampling();
  if (s.max_tokens()) body["max_tokens"] = s.max_tokens();
  if (s.has_temperature()) body["temperature"] = s.temperature();
  if (s.has_seed()) body["seed"] = s.seed();
  return json::serialize(body);
}

Error http_failure(long status, const std::string& body) {
  std::string said;
  boost::system::error_code bad;
  const json::value v = json::parse(body, bad);
  if (!bad)
    if (const auto* e = member(v, "error")) said = e->is_string() ? text_of(e) : text_of(member(*e, "message"));
  if (said.size() > 300) said.resize(300);
  const std::string what = "the model server answered " + std::to_string(status) + (said.empty() ? "" : ": " + said);
  if (status == 429) return {Code::kRateLimited, what, {}};
  if (status >= 400 && status < 500 && status != 408) return {Code::kInvalidArgument, what, {}};
  return {Code::kModelUnavailable, what, {}};
}

Result<v1::EmbedResult> parse_embeddings(const std::string& body, std::size_t expected) {
  boost::system::error_code bad;
  const json::value v = json::parse(body, bad);
  const auto* data = bad ? nullptr : member(v, "data");
  if (!data || !data->is_array() || data->get_array().size() != expected)
    return fail(Code::kModelUnavailable, "the embedding server's answer is malformed");
  v1::EmbedResult out;
  for (const auto& item : data->get_array()) {
    const auto* values = member(item, "embedding");
    if (!values || !values->is_array() || values->get_array().empty())
      return fail(Code::kModelUnavailable, "the embedding server's answer is malformed");
    auto* e = out.add_embeddings();
    e->set_model(text_of(member(v, "model")));
    double norm = 0;
    for (const auto& x : values->get_array()) {
      if (!x.is_number()) return fail(Code::kModelUnavailable, "the embedding server's answer is malformed");
      const double d = x.to_number<double>();
      norm += d * d;
      e->add_values(static_cast<float>(d));
    }
    if (!(norm > 0) || !std::isfinite(norm)) return fail(Code::kModelUnavailable, "the embedding has no direction");
    const auto scale = static_cast<float>(1 / std::sqrt(norm));
    for (auto& x : *e->mutable_values()) x *= scale;
  }
  if (const auto* usage = member(v, "usage")) out.set_prompt_tokens(number_of(member(*usage, "prompt_tokens")));
  return out;
}

ChatStream::ChatStream(SlmEndpoint endpoint, v1::ModelRequest request, SlmClient::OnToken on_token)
    : endpoint_(std::move(endpoint)), request_(std::move(request)), on_token_(std::move(on_token)),
      parser_(endpoint_.max_answer_bytes) {}

void ChatStream::bad(Code code, std::string message) {
  if (failed_) return;
  failed_ = true;
  error_ = {code, std::move(message), {}};
}

bool ChatStream::feed(std::string_view bytes) {
  if (!parser_.feed(bytes, [this](std::string_view data) { event(data); }))
    bad(Code::kModelUnavailable, "the model server sent an event that is too long");
  if (answer_.output().size() > endpoint_.max_answer_bytes) bad(Code::kModelUnavailable, "the model's answer is too long");
  return !failed_;
}

void ChatStream::event(std::string_view data) {
  if (done_ || failed_) return;
  if (data == "[DONE]") {
    done_ = true;
    return;
  }
  boost::system::error_code malformed;
  const json::value v = json::parse(data, malformed);
  if (malformed || !v.is_object()) return bad(Code::kModelUnavailable, "the model server sent a malformed frame");
  if (const auto* e = member(v, "error"))
    return bad(Code::kModelUnavailable, "the model server reported: " + (e->is_string() ? text_of(e) : text_of(member(*e, "message"))));
  if (const auto* model = member(v, "model"); model && answer_.model().empty()) answer_.set_model(text_of(model));
  if (const auto* usage = member(v, "usage"); usage && usage->is_object()) {
    answer_.mutable_usage()->set_prompt_tokens(number_of(member(*usage, "prompt_tokens")));
    answer_.mutable_usage()->set_completion_tokens(number_of(member(*usage, "completion_tokens")));
  }
  const auto* choices = member(v, "choices");
  if (!choices || !choices->is_array() || choices->get_array().empty()) return;
  const json::value& choice = choices->get_array().front();
  if (const auto* delta = member(choice, "delta")) {
    const std::string text = text_of(member(*delta, "content"));
    if (!text.empty()) {
      answer_.mutable_output()->append(text);
      answer_.add_chunk_bytes(static_cast<std::uint32_t>(text.size()));
      if (on_token_) on_token_(index_, text);
      ++index_;
    }
  }
  if (const auto* reason = member(choice, "finish_reason"); reason && reason->is_string())
    answer_.set_finish_reason(text_of(reason));
}

Result<v1::ModelAnswer> ChatStream::finish(std::int64_t latency_ms) {
  if (failed_) return tl::unexpected(error_);
  if (!done_ || answer_.finish_reason().empty())
    return fail(Code::kModelUnavailable, "the model's stream ended before its answer was complete");
  answer_.set_call_id(request_.call_id());
  answer_.set_provider(endpoint_.provider);
  if (answer_.model().empty()) answer_.set_model(endpoint_.model);
  answer_.set_latency_ms(latency_ms);
  return answer_;
}

}  // namespace soma::runtime
