// While a partition is read back, what is read of it in part is not told for all.
#include <boost/json/parse.hpp>

#include "runtime/api/api.h"
#include "runtime/api/effect_routes.h"
#include "tests/unit/host/fixture.h"
#include "tests/unit/host/gated_store.h"

namespace soma::runtime::api {
namespace {

struct Told final : http::Responder::Sink {
  void send(http::Response r) override { response.set_value(std::move(r)); }
  bool answered() const override { return false; }
  std::shared_ptr<http::EventStream> stream(http::StreamHead) override { return nullptr; }
  std::promise<http::Response> response;
};

http::Response get(const http::Router& router, const std::string& path,
                   const std::string& limit = {}) {
  const auto match = router.match("GET", path);
  auto request = std::make_shared<http::Request>();
  request->method = "GET";
  request->path = path;
  request->params = match.params;
  if (!limit.empty()) request->query.emplace("limit", limit);
  request->principal.set_tenant("demo");
  const auto told = std::make_shared<Told>();
  match.route->handler(request, http::Responder(told));
  return told->response.get_future().get();
}

TEST_F(HostFixture, RoutesOfHistoriesAndListsSayTryAgain) {
  crash();
  auto store = std::make_unique<GatedStore>();
  GatedStore& gated = *store;
  store_ = std::move(store);
  start();
  ASSERT_TRUE(add("a", 1, "1"));
  std::unique_lock gate(gated.checkpoints);
  restart();
  Worker slow;
  Journal journal(*log_);
  Node node;
  node.host = host_.get();
  node.catalog = catalog_.get();
  node.journal = &journal;
  node.slow = &slow;
  http::Router router;
  register_actors(router, node);
  register_operations(router, node);
  register_session_transfer(router, node);
  for (const char* path : {"/v1/actors", "/v1/actors/counter/a/history", "/v1/sessions/s/export",
                           "/v1/admin/parked", "/v1/admin/parked/counter/a", "/v1/admin/effects"}) {
    const auto told = get(router, path);
    EXPECT_EQ(told.status, 503) << path << " " << told.body;
    EXPECT_TRUE(std::any_of(told.headers.begin(), told.headers.end(), [](const auto& h) {
      return h.first == "Retry-After";
    })) << path;
  }
  gate.unlock();
  all_serve();
  EXPECT_EQ(get(router, "/v1/actors/counter/a/history").status, 200);
  EXPECT_EQ(get(router, "/v1/admin/parked/counter/a").status, 404);
}

// Effects' ids are their actor's own, and after a restart all wait since the same moment.
TEST_F(HostFixture, EffectsOfOneIdAreListedEach) {
  runner_.silent = true;
  constexpr int kActors = 60;
  v1::CounterCommand c;
  c.mutable_call_out()->set_call_id("call");
  for (int i = 0; i < kActors; ++i) {
    const std::string id = std::to_string(i);
    ASSERT_TRUE(submit(counter(id), c, id));
  }
  restart();
  all_serve();
  while (host_->pending_effects()->size() < kActors) std::this_thread::yield();
  Worker slow;
  Node node;
  node.host = host_.get();
  node.slow = &slow;
  http::Router router;
  register_effects(router, node);
  const auto listed = get(router, "/v1/admin/effects", "200");
  ASSERT_EQ(listed.status, 200) << listed.body;
  EXPECT_EQ(boost::json::parse(listed.body).at("items").as_array().size(), kActors);
}

}  // namespace
}  // namespace soma::runtime::api
