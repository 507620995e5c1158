// A recall on its way to the embedding server: by words where there is none, and no answer at all
// where this node stops meanwhile.
#include <thread>

#include "runtime/memory/memory_index.h"
#include "tests/unit/effects/fixture.h"
#include "tests/unit/projections/journal.h"

namespace soma::test {
namespace {

using namespace soma::runtime;
using projections::test::Journal;
using projections::test::TempFolder;

class RecallTest : public SlmTest {
 protected:
  RecallTest() : journal((temp.path() / "log").string(), 1) {
    v1::MemoryEvent e;
    auto* fact = e.mutable_memory_remembered()->mutable_fact();
    fact->set_memory_id("m");
    fact->set_text("the parcel is green");
    v1::Frame frame;
    journal.event(frame, "acme", "memory", "m", "memory.fact", e.SerializeAsString());
    journal.append(0, std::move(frame));
  }

  // Asked for at once; what came, when it has.
  std::shared_ptr<std::promise<Result<v1::RecallResult>>> ask(const std::string& at_least = {}) {
    v1::RecallRequest request;
    request.set_at_least(at_least);
    request.set_tenant("acme");
    request.set_query("which colour has the parcel");
    request.set_top_k(3);
    auto answer = std::make_shared<std::promise<Result<v1::RecallResult>>>();
    recall(request, [answer](Result<v1::RecallResult> r) { answer->set_value(std::move(r)); });
    return answer;
  }
  static Result<v1::RecallResult> of(
      const std::shared_ptr<std::promise<Result<v1::RecallResult>>>& answer) {
    auto future = answer->get_future();
    if (future.wait_for(kPatience) != std::future_status::ready)
      return fail(Code::kInternal, "TEST: no answer came");
    return future.get();
  }

  TempFolder temp;
  Journal journal;
  MemoryIndex index;
  RecallFunction recall =
      make_recall(index, *client, [this] { return Result<SlmEndpoint>(endpoint); });
};

TEST_F(RecallTest, WithoutAnEmbeddingItGoesByWords) {
  ASSERT_TRUE(index.rebuild(journal.log()));
  upstream->set(*parse_script(R"({"status": 503, "text": "no"})"));
  const auto found = of(ask());
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_TRUE(found->degraded());
  ASSERT_EQ(found->memories_size(), 1);
}

TEST_F(RecallTest, AnEmbeddingThatOurStoppingCutsOffIsNoDegradedAnswer) {
  ASSERT_TRUE(index.rebuild(journal.log()));
  Behaviour slow;
  slow.delay_ms = 60'000;
  upstream->otherwise(slow);
  const auto answer = ask();
  while (upstream->requests().empty()) std::this_thread::yield();  // ends by the time limit
  client->stop();
  const auto found = of(answer);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().field, kStopping);
}

// A search holds up neither who asks, an actor's thread, nor the client's, which carries streams.
TEST_F(RecallTest, ASearchRunsOnNobodyElsesThread) {
  ASSERT_TRUE(index.rebuild(journal.log()));
  std::promise<void> searched, go_on;
  auto over = go_on.get_future().share();
  v1::RecallRequest request;
  request.set_tenant("acme");
  request.set_query("parcel");
  request.set_top_k(3);
  std::thread::id searcher;
  recall(request, [&](Result<v1::RecallResult>) {  // as a search that takes long
    searcher = std::this_thread::get_id();
    searched.set_value();
    over.wait_for(kPatience);
  });
  searched.get_future().wait();
  EXPECT_TRUE(embed({"another call of the client"}));
  const auto words_alone =
      make_recall(index, *client, [] { return fail(Code::kUnavailable, "off", kNoModel); });
  std::promise<std::thread::id> second;
  words_alone(request, [&](Result<v1::RecallResult> r) {
    EXPECT_TRUE(r);
    second.set_value(std::this_thread::get_id());
  });
  go_on.set_value();
  EXPECT_EQ(second.get_future().get(), searcher);
}

TEST_F(RecallTest, WhatIsAskedWhileTheIndexStopsEndsAtOnce) {
  ASSERT_TRUE(index.rebuild(journal.log()));
  const auto words_alone =
      make_recall(index, *client, [] { return fail(Code::kUnavailable, "off", kNoModel); });
  v1::RecallRequest request;
  request.set_tenant("acme");
  request.set_query("parcel");
  std::promise<void> searched, go_on;
  words_alone(request, [&](Result<v1::RecallResult>) {
    searched.set_value();
    go_on.get_future().wait_for(kPatience);
  });
  searched.get_future().wait();
  std::promise<Result<v1::RecallResult>> waits, later;
  words_alone(request, [&](auto r) { waits.set_value(std::move(r)); });
  std::thread stopper([this] { index.stop(); });
  while (!index.stopped()) std::this_thread::yield();  // ends by the time limit
  words_alone(request, [&](auto r) { later.set_value(std::move(r)); });
  EXPECT_EQ(later.get_future().get().error().field, kStopping);  // behind none that searches
  go_on.set_value();
  stopper.join();
  EXPECT_EQ(waits.get_future().get().error().field, kStopping);
}

TEST_F(RecallTest, WhatWaitsForAnIndexThatStopsGetsNoDegradedAnswer) {
  index.follow(journal.log());
  const auto answer = ask("0/99");  // nobody has written there
  index.stop();
  const auto found = of(answer);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().field, kStopping);
}

}  // namespace
}  // namespace soma::test
