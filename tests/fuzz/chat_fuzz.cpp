// Fuzzes the stream of a model server: how its bytes are cut changes nothing; what is given out is
// what the answer holds; and a stream that ends before [DONE] is never an answer.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/effects/chat_stream.h"
#include "tests/fuzz/check.h"

using namespace soma;
using namespace soma::runtime;
using soma::fuzz::check;

namespace {

constexpr std::size_t kMostBytes = 512;  // of an answer: small, so that the limit is met

struct Outcome {
  std::string tokens;
  std::vector<std::size_t> sizes;
  Result<v1::ModelAnswer> answer{v1::ModelAnswer()};

  std::string told() const { return answer ? answer->SerializeAsString() : answer.error().message; }
};

// `piece` 0: whole.
Outcome read(std::string_view stream, std::size_t piece, std::string_view content_type) {
  SlmEndpoint endpoint;
  endpoint.max_answer_bytes = kMostBytes;
  v1::ModelRequest request;
  request.set_call_id("c");
  request.add_tools()->set_name("look");
  Outcome out;
  ChatStream chat(endpoint, request, [&](std::uint32_t index, const std::string& text) {
    check(index == out.sizes.size() && !text.empty());
    out.sizes.push_back(text.size());
    out.tokens += text;
  });
  auto state = ChatStream::State::kOpen;
  while (!stream.empty() && state == ChatStream::State::kOpen) {
    const auto size = piece == 0 ? stream.size() : std::min(piece, stream.size());
    state = chat.feed(stream.substr(0, size), content_type);
    stream.remove_prefix(size);
  }
  out.answer = chat.finish(7);
  return out;
}

void sound(const Outcome& outcome) {
  check(outcome.tokens.size() <= kMostBytes);
  if (!outcome.answer) return check(!outcome.answer.error().message.empty());
  const auto& answer = *outcome.answer;
  check(answer.output() == outcome.tokens && !answer.finish_reason().empty() &&
        answer.has_usage() && answer.call_id() == "c" && answer.latency_ms() == 7);
  check(static_cast<std::size_t>(answer.chunk_bytes_size()) == outcome.sizes.size());
  for (std::size_t i = 0; i < outcome.sizes.size(); ++i)
    check(answer.chunk_bytes(static_cast<int>(i)) == outcome.sizes[i]);
}

}  // namespace

// Input: how large the pieces are, then the stream.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto whole = read(stream, 0, "text/event-stream; charset=utf-8");
  sound(whole);
  const auto cut = read(stream, 1 + data[0] % 32, "text/event-stream; charset=utf-8");
  check(cut.told() == whole.told() && cut.sizes == whole.sizes && cut.tokens == whole.tokens);
  if (whole.answer) {
    const auto done = stream.find("[DONE]");
    check(done != stream.npos);
    check(!read(stream.substr(0, done), 0, "text/event-stream").answer);
  }
  check(!read(stream, 0, "application/json").answer);  // an error object, or no stream
  const auto failure = http_failure(400 + data[0], stream);
  check(!failure.message.empty() && failure.message.size() < 500);
  return 0;
}
