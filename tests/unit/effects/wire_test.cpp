// The wire formats, byte by byte.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/effects/chat_stream.h"
#include "runtime/effects/embeddings.h"
#include "runtime/effects/tool_calls.h"

namespace soma::runtime {
namespace {

constexpr const char* kType = "text/event-stream";
const std::string kGood =
    ": a comment\r\n\r\n"
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}"
    "\r\n\r\n"
    "event: message\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\u00e9\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n"
    "data: [DONE]\n\n";

Result<v1::ModelAnswer> read(const std::string& bytes, std::size_t piece = 0,
                             const char* type = kType) {
  ChatStream s({}, {}, {});
  if (piece == 0) piece = bytes.size();
  for (std::size_t at = 0; at < bytes.size(); at += piece)
    if (s.feed(std::string_view(bytes).substr(at, piece), type) == ChatStream::State::kBad) break;
  return s.finish(1);
}

TEST(ChatStream, IsReadAlikeHoweverItIsCut) {
  for (std::size_t piece = 1; piece <= kGood.size(); ++piece) {
    auto a = read(kGood, piece);
    ASSERT_TRUE(a) << piece << a.error().message;
    ASSERT_EQ(a->output(), "a\u00e9");
    ASSERT_EQ(a->usage().prompt_tokens(), 3u);
  }
}

TEST(ChatStream, EveryTruncationIsAnError) {
  // The last line's own empty line may be missing: all has been said by then.
  for (std::size_t n = 0; n + 1 < kGood.size(); ++n) ASSERT_FALSE(read(kGood.substr(0, n))) << n;
  EXPECT_TRUE(read(kGood.substr(0, kGood.size() - 1)));
}

TEST(ChatStream, RefusesWhatItDoesNotUnderstand) {
  const std::string end =
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
  for (const char* frame :
       {"[]", "{}", "null", "{\"choices\":{}}", "{\"choices\":[1]}",
        "{\"choices\":[{\"delta\":3}]}", "{\"choices\":[{\"delta\":{\"content\":7}}]}",
        "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}",
        "{\"choices\":[{\"finish_reason\":5}]}", "{\"error\":\"boom\"}",
        "{\"choices\":[]} trailing", "{\"choices\":[{\"delta\":{\"content\":\"\\ud800\"}}]}"})
    EXPECT_FALSE(read(std::string("data: ") + frame + "\n\n" + end)) << frame;
  EXPECT_TRUE(read(end));
}

v1::ModelRequest with_tools() {
  v1::ModelRequest request;
  request.add_tools()->set_name("look");
  request.mutable_tools(0)->set_parameters_json("{\"type\":\"object\"}");
  return request;
}
std::string tool_delta(const std::string& calls) {
  return "data: {\"choices\":[{\"delta\":{\"tool_calls\":" + calls + "}}]}\n\n";
}
const std::string kToolEnd =
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";

Result<v1::ModelAnswer> read_tools(const std::string& bytes,
                                   const v1::ModelRequest& request = with_tools()) {
  ChatStream s({}, request, {});
  s.feed(bytes, kType);
  return s.finish(1);
}

TEST(ChatStream, ToolCallsArriveInFragments) {
  const std::string stream =
      tool_delta(
          R"([{"index":0,"id":"a","type":"function","function":{"name":"look","arguments":""}}])") +
      tool_delta(R"([{"index":0,"function":{"arguments":"{\"at\""}}])") +
      tool_delta(
          R"([{"index":1,"id":"a","function":{"name":"pay"}},{"index":0,"function":{"arguments":":1}"}}])") +
      tool_delta(R"([{"index":1,"function":{"arguments":"{}"}}])") + kToolEnd;
  const auto a = read_tools(stream);
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->finish_reason(), "tool_calls");
  ASSERT_EQ(a->tool_calls_size(), 2);
  EXPECT_EQ(a->tool_calls(0).name() + a->tool_calls(0).arguments(), "look{\"at\":1}");
  EXPECT_EQ(a->tool_calls(1).name() + a->tool_calls(1).arguments(), "pay{}");
  EXPECT_EQ(read_tools(stream, {})->tool_calls_size(), 0) << "of a request that named no tools";
  // Servers that send no index send whole calls, or go on with the last.
  const auto b = read_tools(
      tool_delta(R"([{"id":"a","function":{"name":"look","arguments":"{"}}])") +
      tool_delta(R"([{"function":{"arguments":"}"}}])") +
      tool_delta(R"([{"id":"b","function":{"name":"pay","arguments":"{}"}}])") + kToolEnd);
  ASSERT_TRUE(b) << b.error().message;
  ASSERT_EQ(b->tool_calls_size(), 2);
  EXPECT_EQ(b->tool_calls(0).arguments() + b->tool_calls(1).name(), "{}pay");
}

TEST(ChatStream, MalformedToolCallsAreErrors) {
  for (const char* calls :
       {"{}", "[7]", R"([{"index":1,"function":{"name":"x"}}])", R"([{"index":-1}])",
        R"([{"index":"0"}])", R"([{"function":{"arguments":"{}"}}])",
        R"([{"index":0,"function":{"arguments":{}}}])", R"([{"index":0,"function":[]}])"})
    EXPECT_FALSE(read_tools(tool_delta(calls) + kToolEnd)) << calls;
  std::string many, large = std::string(kMaxToolCallBytes, 'x');
  for (int i = 0; i <= kMaxToolCalls; ++i)
    many += tool_delta("[{\"index\":" + std::to_string(i) + ",\"function\":{\"name\":\"x\"}}]");
  EXPECT_FALSE(read_tools(many + kToolEnd));
  EXPECT_FALSE(read_tools(
      tool_delta("[{\"index\":0,\"function\":{\"name\":\"x\",\"arguments\":\"" + large + "\"}}]") +
      kToolEnd));
  EXPECT_FALSE(read_tools(kToolEnd.substr(0, kToolEnd.find("\n\n") + 2) +
                          tool_delta(R"([{"index":0,"function":{"name":"x"}}])") +
                          "data: [DONE]\n\n"));
}

TEST(ChatStream, ToolsAndTheirCallsAreSentAsOpenAiReadsThem) {
  v1::ModelRequest request = with_tools();
  request.add_messages()->set_role("assistant");
  auto* call = request.mutable_messages(0)->add_tool_calls();
  call->set_id("t1");
  call->set_name("look");
  call->set_arguments("{}");
  request.add_messages()->set_role("tool");
  request.mutable_messages(1)->set_content("a cat");
  request.mutable_messages(1)->set_tool_call_id("t1");
  const std::string body = chat_body(request, "m");
  EXPECT_NE(
      body.find(
          R"("messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"look","arguments":"{}"}}]},{"role":"tool","content":"a cat","tool_call_id":"t1"}])"),
      std::string::npos)
      << body;
  EXPECT_NE(
      body.find(
          R"("tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}])"),
      std::string::npos)
      << body;
}

TEST(ChatStream, OddNumbersDoNotThrow) {
  const std::string end =
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
  auto a = read(
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1e300}}\n\n" +
      end);
  ASSERT_TRUE(a);
  EXPECT_TRUE(a->usage().estimated());
}

TEST(ChatStream, UsageThatCannotBeOfOneCallIsNotTaken) {
  const std::string end =
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
  const auto usage = [&](const std::string& told) {
    return read("data: {\"choices\":[],\"usage\":" + told + "}\n\n" + end)->usage();
  };
  EXPECT_EQ(usage(R"({"prompt_tokens":3,"completion_tokens":0})").prompt_tokens(), 3u);
  for (const char* odd : {R"({"prompt_tokens":9223372036854775807,"completion_tokens":1})",
                          R"({"prompt_tokens":1,"completion_tokens":18446744073709551615})",
                          R"({"prompt_tokens":12.0,"completion_tokens":1})", R"({})",
                          R"({"prompt_tokens":0,"completion_tokens":0})"}) {
    const auto told = usage(odd);
    EXPECT_TRUE(told.estimated() || told.ByteSizeLong() == 0) << odd << told.DebugString();
    EXPECT_LT(told.prompt_tokens() + told.completion_tokens(), 1000u) << odd;
  }
}

TEST(ChatStream, AnEventWithoutEndIsBounded) {
  ChatStream s({}, {}, {});
  const std::string piece(64 * 1024, 'x');
  auto state = ChatStream::State::kOpen;
  for (int i = 0; i < 100 && state == ChatStream::State::kOpen; ++i)
    state = s.feed(i == 0 ? "data: " + piece : piece, kType);
  EXPECT_EQ(state, ChatStream::State::kBad);
}

TEST(ChatStream, AnErrorObjectSaysItsStatus) {
  auto a = read("data: {\"error\":{\"code\":400,\"message\":\"too long\",\"type\":\"x\"}}\n\n");
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kInvalidArgument);
  a = read("{\"error\":{\"code\":429,\"message\":\"slow\"}}", 0, "application/json");
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kRateLimited);
}

TEST(ChatStream, ARefusalIsMarked) {
  auto a = read(
      "data: {\"choices\":[{\"delta\":{\"refusal\":\"I will not.\"}}]}\n\n"
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
  ASSERT_TRUE(a);
  EXPECT_TRUE(a->refusal());
  EXPECT_EQ(a->output(), "I will not.");
}

TEST(Embeddings, AreOrderedByIndexAndMadeUnit) {
  auto r = parse_embeddings(
      R"({"model":"m","data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}]})", 2);
  ASSERT_TRUE(r);
  EXPECT_FLOAT_EQ(r->embeddings(0).values(0), 0.6f);
  EXPECT_FLOAT_EQ(r->embeddings(1).values(1), 1.0f);
}

TEST(Embeddings, RefuseWhatIsNotAVector) {
  for (const char* body :
       {"", "[]", "{\"data\":[]}", R"({"data":[{"embedding":[]}]})",
        R"({"data":[{"embedding":[0,0]}]})", R"({"data":[{"embedding":["a"]}]})",
        R"({"data":[{"index":4,"embedding":[1]}]})", R"({"data":[{"embedding":[1e300,1]}]})"})
    EXPECT_FALSE(parse_embeddings(body, 1)) << body;
}

TEST(Pieces, LoseNothingAndCutNoCharacter) {
  const std::string text =
      "na\u00efve caf\u00e9s \u65e5\u672c\u8a9e\u306e\u6587\u7ae0 and some plain words";
  for (std::size_t max = 4; max < text.size() + 2; ++max) {
    std::string joined;
    for (const auto& piece : cut_in_pieces(text, max)) {
      EXPECT_LE(piece.size(), max);
      EXPECT_NE(static_cast<unsigned char>(piece[0]) & 0xC0, 0x80) << max;
      joined += piece;
    }
    std::string expected = text;
    std::erase(expected, ' ');
    std::erase(joined, ' ');
    EXPECT_EQ(joined, expected);
  }
  EXPECT_EQ(cut_in_pieces("", 10).size(), 1u);
  EXPECT_EQ(cut_in_pieces("abc", 0).size(), 1u);
}

}  // namespace
}  // namespace soma::runtime
