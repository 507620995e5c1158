// A fact: remembered, embedded in time, forgotten for good.
#include "actors/memory/memory.h"

#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Memory = Given<MemoryDecider>;
const ActorKey kMemory = memory_key("demo", "m1");
const std::string kRemember =
    "remember { fact { memory_id: 'm1' coord: 'm1' text: 'tea at four' importance: 0.5 created_ms: "
    "5 } }";

TEST(Memory, AFactWithoutAVectorAsksForOne) {
  Memory memory(kMemory);
  memory.when(kRemember).then({"memory.remembered"});
  EXPECT_TRUE(memory.reply().queued());
  ASSERT_EQ(memory.effects().size(), 1u);
  EXPECT_EQ(memory.effects()[0].kind, "memory.embed");
  v1::EffectOutcome outcome = message<v1::EffectOutcome>("attempt: 1");
  outcome.set_effect_id(memory.effects()[0].effect_id);
  outcome.set_result(
      message<v1::EmbedResult>("embeddings { model: 'e' values: 1 }").SerializeAsString());
  v1::MemoryCommand command;
  *command.mutable_effect_outcome() = outcome;
  memory.when(command).then({"memory.embedded"});
  EXPECT_TRUE(memory.effects().empty());
  memory.when(command).then({});  // reported twice
}

TEST(Memory, TheSameFactAgainIsOne) {
  Memory memory(kMemory);
  memory.when(kRemember);
  memory.when(kRemember).then({});
  EXPECT_TRUE(memory.reply().deduplicated());
  memory.when("remember { fact { memory_id: 'm1' coord: 'm1' text: 'tea at five' } }")
      .then({"memory.remembered"});  // the newest wins
  EXPECT_EQ(memory.state().fact().text(), "tea at five");
}

TEST(Memory, BadFactsAreRefusedByName) {
  Memory memory(kMemory);
  memory.when("remember { fact { text: '' } }").refused(Code::kInvalidArgument, "body.text");
  memory.when("remember { fact { text: 'x' importance: 1.5 } }")
      .refused(Code::kInvalidArgument, "body.importance");
  memory.when("remember { fact { text: 'x' importance: nan } }")
      .refused(Code::kInvalidArgument, "body.importance");
  v1::MemoryCommand huge;
  huge.mutable_remember()->mutable_fact()->set_text(std::string(64 * 1024 + 1, 'x'));
  memory.when(huge).refused(Code::kInvalidArgument, "body.text");
}

TEST(Memory, ForgettingTakesTheTextAndIsOnce) {
  Memory memory(kMemory);
  memory.when("forget {}").refused(Code::kNotFound);
  memory.when(kRemember);
  memory.when("forget { reason: 'asked' }").then({"memory.forgotten"});
  EXPECT_EQ(memory.state().fact().text(), "");
  EXPECT_TRUE(memory.effects().empty());
  memory.when("forget {}").refused(Code::kNotFound);
  memory.when(kRemember).then({"memory.remembered"});  // may be remembered anew
}

// The outcome of the effect that is pending: a failure.
void fail_to_embed(Memory& memory, bool retryable) {
  const auto effects = memory.effects();
  ASSERT_EQ(effects.size(), 1u);
  v1::MemoryCommand command;
  auto* outcome = command.mutable_effect_outcome();
  outcome->set_effect_id(effects[0].effect_id);
  outcome->set_attempt(effects[0].attempt);
  outcome->mutable_failure()->set_code("model_unavailable");
  outcome->mutable_failure()->set_retryable(retryable);
  memory.at(1000).when(command).then({"memory.embed_failed"});
}

TEST(Memory, EmbeddingIsTriedAgainLaterAndGivenUp) {
  Memory memory(kMemory);
  memory.when(kRemember);
  std::int64_t last = 0;
  for (std::uint32_t attempt = 1; attempt <= 8; ++attempt) {
    ASSERT_EQ(memory.effects().size(), 1u) << attempt;
    EXPECT_EQ(memory.effects()[0].attempt, attempt);
    fail_to_embed(memory, false);
    const std::int64_t wait = memory.state().embed_not_before_ms() - 1000;
    EXPECT_GE(wait, last);
    EXPECT_LE(wait, 60'000);
    last = wait;
  }
  EXPECT_TRUE(memory.state().embed_gave_up());
  EXPECT_TRUE(memory.effects().empty());
}

TEST(Memory, WhatMayPassIsAskedForUntilItHas) {
  Memory memory(kMemory);
  memory.when(kRemember);
  for (std::uint32_t attempt = 1; attempt <= 100; ++attempt) {
    ASSERT_EQ(memory.effects().size(), 1u) << attempt;
    EXPECT_EQ(memory.effects()[0].attempt, attempt);
    fail_to_embed(memory, true);
    EXPECT_GT(memory.state().embed_not_before_ms(), 1000);
    EXPECT_LE(memory.state().embed_not_before_ms(), 61'000);
  }
  v1::MemoryCommand command;
  auto* outcome = command.mutable_effect_outcome();
  outcome->set_effect_id(memory.effects()[0].effect_id);
  outcome->set_attempt(101);
  v1::EmbedResult result;
  result.add_embeddings()->add_values(1);
  outcome->set_result(result.SerializeAsString());
  memory.when(command).then({"memory.embedded"});
  EXPECT_TRUE(memory.effects().empty());
}

// An earlier build recorded that it gave up: what its history says is decided alike by this one,
// and what it waited for goes on.
TEST(Memory, WhatAnEarlierBuildGaveUpGoesOn) {
  Memory memory(kMemory);
  memory.when(kRemember);
  for (int attempt = 1; attempt <= 8; ++attempt) fail_to_embed(memory, true);
  EXPECT_TRUE(memory.state().embed_gave_up());
  ASSERT_EQ(memory.effects().size(), 1u);
  EXPECT_EQ(memory.effects()[0].attempt, 9u);
}

}  // namespace
}  // namespace soma::actors
