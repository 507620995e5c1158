// Every token once and in order, whenever a subscriber comes, and nothing left behind.
#include "runtime/effects/token_hub.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace soma::runtime {
namespace {

struct Heard {
  std::mutex mutex;
  std::vector<TokenHub::Token> tokens;
  TokenHub::Listener listener() {
    return [this](const TokenHub::Token& t) {
      std::lock_guard lock(mutex);
      tokens.push_back(t);
    };
  }
  std::string text() {
    std::string all;
    for (const auto& t : tokens) all += t.text;
    return all;
  }
};

TEST(TokenHub, ALateSubscriberGetsWhatCameAndWhatComes) {
  TokenHub hub;
  Heard heard;
  hub.begin("c", 1);
  hub.publish("c", 1, 0, "a");
  hub.publish("c", 1, 1, "b");
  auto s = hub.subscribe("c", heard.listener());
  hub.publish("c", 1, 2, "c");
  hub.finish("c", 1);
  EXPECT_EQ(heard.text(), "abc");
}

TEST(TokenHub, ASubscriptionOutlivesAFailedAttempt) {
  TokenHub hub;
  Heard heard;
  auto s = hub.subscribe("c", heard.listener());  // before the call begins
  hub.begin("c", 1);
  hub.publish("c", 1, 0, "x");
  hub.finish("c", 1);
  hub.begin("c", 2);
  hub.publish("c", 1, 1, "late, of the old attempt");
  hub.publish("c", 2, 0, "y");
  ASSERT_EQ(heard.tokens.size(), 2u);
  EXPECT_EQ(heard.tokens[1].attempt, 2u);
  EXPECT_EQ(heard.tokens[1].index, 0u);
}

// As of a partition that was dropped and read back while its call ran.
TEST(TokenHub, AnOldAttemptMutesNoNewerOne) {
  TokenHub hub;
  Heard heard;
  auto s = hub.subscribe("c", heard.listener());
  hub.begin("c", 1);
  hub.begin("c", 2);
  hub.finish("c", 1);
  hub.publish("c", 2, 0, "a");
  hub.begin("c", 1);  // it had waited for its model
  hub.publish("c", 2, 1, "b");
  EXPECT_EQ(heard.text(), "ab");
  s.reset();
  hub.finish("c", 2);
  EXPECT_EQ(hub.calls(), 0u);
}

TEST(TokenHub, NothingIsToldTwiceOrOutOfOrder) {
  TokenHub hub;
  Heard heard;
  hub.begin("c", 1);
  auto s = hub.subscribe("c", heard.listener());
  hub.publish("c", 1, 0, "a");
  hub.publish("c", 1, 0, "a");
  hub.publish("c", 1, 2, "c");
  hub.publish("c", 1, 1, "b");
  EXPECT_EQ(heard.text(), "ab");
}

TEST(TokenHub, NothingIsLeftOfCallsThatNobodyHears) {
  TokenHub hub;
  for (int i = 0; i < 100; ++i) {
    const std::string id = "c" + std::to_string(i);
    hub.begin(id, 1);
    hub.publish(id, 1, 0, "a");
    hub.finish(id, 1);
    hub.publish(id, 1, 1, "after the end");
    auto s = hub.subscribe(id, [](const auto&) {});
  }
  EXPECT_EQ(hub.calls(), 0u);
}

TEST(TokenHub, AListenerMayEndItsOwnSubscription) {
  TokenHub hub;
  hub.begin("c", 1);
  int heard = 0;
  TokenHub::Subscription s;
  s = hub.subscribe("c", [&](const auto&) {
    ++heard;
    s.reset();
  });
  hub.publish("c", 1, 0, "a");
  hub.publish("c", 1, 1, "b");
  EXPECT_EQ(heard, 1);
}

TEST(TokenHub, ASubscriptionMayOutliveTheHub) {
  auto hub = std::make_unique<TokenHub>();
  auto s = hub->subscribe("c", [](const auto&) {});
  hub.reset();
  s.reset();
}

TEST(TokenHub, BuffersAreBoundedAndListenersStillHearAll) {
  TokenHub hub;
  Heard live, late;
  hub.begin("c", 1);
  auto a = hub.subscribe("c", live.listener());
  const std::string big(TokenHub::kMaxBytesPerCall / 4, 'x');
  for (std::uint32_t i = 0; i < 8; ++i) hub.publish("c", 1, i, big);
  auto b = hub.subscribe("c", late.listener());
  EXPECT_EQ(live.tokens.size(), 8u);
  EXPECT_EQ(late.tokens.size(), 4u);  // a gapless beginning; the rest comes with the answer
}

TEST(TokenHub, SubscribersThatComeWhileTokensFlowMissNone) {
  TokenHub hub;
  constexpr std::uint32_t kTokens = 2000;
  hub.begin("c", 1);
  std::atomic<bool> go{false};
  std::thread publisher([&] {
    while (!go) std::this_thread::yield();
    for (std::uint32_t i = 0; i < kTokens; ++i) hub.publish("c", 1, i, "t");
  });
  std::vector<std::unique_ptr<Heard>> all;
  std::vector<TokenHub::Subscription> subscriptions;
  go = true;
  for (int i = 0; i < 50; ++i) {
    all.push_back(std::make_unique<Heard>());
    subscriptions.push_back(hub.subscribe("c", all.back()->listener()));
  }
  publisher.join();
  for (auto& h : all) {
    ASSERT_EQ(h->tokens.size(), kTokens);
    for (std::uint32_t i = 0; i < kTokens; ++i) ASSERT_EQ(h->tokens[i].index, i);
  }
}

}  // namespace
}  // namespace soma::runtime
