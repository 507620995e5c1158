// An actor that has left memory and cannot be read back just now.
#include "tests/unit/host/fixture.h"
#include "tests/unit/host/gated_store.h"

namespace soma::runtime {
namespace {

// Nobody knows then what it wants: its effect stays the one that runs, and ends once.
TEST_F(HostFixture, AFailedRestoreForgetsNoRunningEffect) {
  crash();
  auto store = std::make_unique<GatedStore>();
  GatedStore& gated = *store;
  store_ = std::move(store);
  limits_.active_actors_per_partition = 0;
  limits_.checkpoint_every_events = 1;
  start();
  all_serve();
  runner_.silent = true;
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("call");
  ASSERT_TRUE(submit(counter("a"), c, "place"));
  while (host_->metrics().passivated == 0) std::this_thread::yield();
  gated.loads_garbled = true;
  std::promise<Result<StateView>> shown;
  host_->read(counter("a"), [&](Result<StateView> r) { shown.set_value(std::move(r)); });
  const auto broken = shown.get_future().get();
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::kParked);
  EXPECT_EQ(host_->pending_effects()->size(), 1u);
  gated.loads_garbled = false;
  EXPECT_EQ(state("a").calls_size(), 1);
  EXPECT_EQ(host_->pending_effects()->size(), 1u);
  ASSERT_TRUE(add("a", 1, "later"));  // behind whatever the restored state had reported
  EXPECT_EQ(state("a").calls_size(), 1) << "it was told to have been interrupted";
}

}  // namespace
}  // namespace soma::runtime
