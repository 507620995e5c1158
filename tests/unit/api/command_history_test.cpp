// A key claimed long ago whose answer was not recorded: its command is looked for in its actor's
// history.
#include "runtime/api/command_history.h"

#include "runtime/host/worker.h"
#include "tests/unit/host/fixture.h"

namespace soma::runtime::api {
namespace {

constexpr std::int64_t kHourMs = 3600 * 1000;

struct Heard final : http::Responder::Sink {
  void send(http::Response r) override { response.set_value(std::move(r)); }
  bool answered() const override { return false; }
  std::shared_ptr<http::EventStream> stream(http::StreamHead) override { return nullptr; }
  std::promise<http::Response> response;
};

struct CommandHistoryTest : HostFixture {
  CommandHistoryTest() { limits_.checkpoint_every_events = 1; }

  // Adds 5 under the key "key", as a request whose key was claimed `hours` ago; 0: just now.
  http::Response add_five(int hours) {
    node.host = host_.get();
    node.log = log_.get();
    node.clock = clock_.get();
    node.slow = &slow;
    auto request = std::make_shared<http::Request>();
    request->principal.set_tenant("demo");
    request->idempotency_key = "key";
    request->replayed = hours > 0;
    if (hours > 0) note_claimed(*request, clock_->now_ms() - hours * kHourMs);
    v1::CounterCommand c;
    c.mutable_add()->set_amount(5);
    auto heard = std::make_shared<Heard>();
    auto response = heard->response.get_future();
    submit_settled(node, request, http::Responder(heard),
                   make_submission(*request, counter("c"), c, command_id_of(*request)),
                   [](const Accepted& a) { return http::text_response(200, a.reply); });
    return response.get();
  }
  // As 25 hours do: the command's id is known to nobody but the log.
  void forget_ids() {
    const PartitionId p = partition_of(counter("c"), log_->partition_count());
    while (!store_->dedupe(p, "demo:key")) std::this_thread::yield();
    store_->expire_dedupe(clock_->now_ms() + kHourMs);
    restart();
    state("c");  // serves again
  }
  static bool replayed(const http::Response& r) {
    for (const auto& [name, value] : r.headers)
      if (name == "Idempotent-Replayed") return true;
    return false;
  }

  Node node;
  Worker slow;
};

TEST_F(CommandHistoryTest, ACommandThatItsPartitionForgotIsNotAppliedAgain) {
  state("c");
  const auto first = add_five(0);
  EXPECT_EQ(first.status, 200);
  forget_ids();
  const auto again = add_five(25);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  EXPECT_TRUE(replayed(again));
  EXPECT_EQ(state("c").value(), 5);
  add_five(1);
  EXPECT_EQ(state("c").value(), 10) << "the partition had not forgotten; nothing was shown";
}

TEST_F(CommandHistoryTest, OneThatNeverRanRunsHoweverOldItsKeyIs) {
  state("c");
  const auto late = add_five(25);
  EXPECT_EQ(late.status, 200);
  EXPECT_FALSE(replayed(late));
  EXPECT_EQ(state("c").value(), 5);
}

}  // namespace
}  // namespace soma::runtime::api
