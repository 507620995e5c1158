// The wire formats, byte by byte.
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/effects/chat_stream.h"
#include "runtime/effects/embeddings.h"

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

TEST(ChatStream, OddNumbersDoNotThrow) {
  const std::string end =
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
  auto a = read(
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1e300}}\n\n" +
      end);
  ASSERT_TRUE(a);
  EXPECT_EQ(a->usage().prompt_tokens(), 0u);
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
