// What a frame told is newer than the actor's state that was read before it.
#include "runtime/api/guards.h"

#include "actors/gateway/gateway.h"
#include "actors/rules/rules.h"
#include "runtime/api/deployment.h"
#include "runtime/api/kill_switch.h"
#include "runtime/api/rulebook.h"
#include "tests/unit/api/read_host.h"

namespace soma::runtime::api {
namespace {

struct GuardsTest : testing::Test {
  ReadHost host;
  std::shared_ptr<v1::GatewayState> gateway = std::make_shared<v1::GatewayState>();

  GuardsTest() {
    host.states["gateway"] = {gateway, 1};
    host.hold = true;
  }
  void answer() {
    for (auto& held : host.held) held();
  }
};

events::ValidFrame switched(bool enabled) {
  v1::GatewayEvent e;
  e.mutable_kill_switch_changed()->set_enabled(enabled);
  return frame(actors::gateway_key(), "gateway.kill_switch.changed", 2, e);
}

TEST_F(GuardsTest, AKillSwitchThatWasTurnedWhileItWasReadStaysAsTurned) {
  KillSwitch kill_switch(false);
  kill_switch.load(host, [](Status s) { EXPECT_TRUE(s); });
  kill_switch.follow(switched(true));
  answer();  // as it was before
  EXPECT_TRUE(kill_switch.active());
  kill_switch.follow(switched(false));
  EXPECT_FALSE(kill_switch.active());
}

TEST_F(GuardsTest, AKillSwitchIsOnUntilItWasRead) {
  KillSwitch kill_switch(false);
  kill_switch.load(host, [](Status s) { EXPECT_TRUE(s); });
  EXPECT_TRUE(kill_switch.active());
  answer();
  EXPECT_FALSE(kill_switch.active());
}

TEST_F(GuardsTest, AModeThatWasSwitchedWhileItWasReadStaysAsSwitched) {
  gateway->set_mode("developer-light");
  Deployment deployment("developer-light", [](const std::string&) {});
  deployment.load(host, [](Status s) { EXPECT_TRUE(s); });
  v1::GatewayEvent e;
  e.mutable_mode_changed()->set_mode("production");
  deployment.follow(frame(actors::gateway_key(), "mode.changed", 2, e));
  answer();
  EXPECT_EQ(deployment.mode(), "production");
}

TEST_F(GuardsTest, NobodyIsRefusedForGoodBeforeItIsKnownWhoMayDoWhat) {
  gateway->set_mode("developer-light");
  Guards guards("developer-light", false);
  ASSERT_TRUE(guards.open({}, {}, {}));
  const auto said = [&] {
    const auto who = guards.authenticate(std::nullopt);
    return who ? "in" : std::string(code_name(who.error().code));
  };
  EXPECT_EQ(said(), "unavailable") << "the mode may be one where no token is needed";
  host.hold = false;
  host.broken = Error{Code::kUnavailable, "no broker", {}};
  EXPECT_FALSE(guards.load(host));
  EXPECT_EQ(said(), "unavailable");
  host.broken.reset();
  EXPECT_TRUE(guards.load(host));
  EXPECT_EQ(said(), "in");
  gateway->set_mode("production");
  Guards strict("developer-light", false);
  ASSERT_TRUE(strict.open({}, {}, {}));
  EXPECT_TRUE(strict.load(host));
  EXPECT_EQ(strict.authenticate(std::nullopt).error().code, Code::kUnauthenticated);
}

TEST_F(GuardsTest, RulesThatChangedWhileTheyWereReadStayAsChanged) {
  auto before = std::make_shared<v1::RulesState>();
  before->mutable_active()->set_version(1);
  host.states["rules"] = {before, 1};
  Rulebook rulebook;
  std::uint64_t version = 0;
  rulebook.in_force(host, "acme",
                    [&](Result<Rulebook::InForce> r) { version = r ? r->rules->version() : 0; });
  v1::RulesEvent e;
  e.mutable_updated()->mutable_rules()->set_version(2);
  rulebook.follow(frame(actors::rules_key("acme"), "rules.updated", 2, e));
  answer();
  EXPECT_EQ(version, 2U);
}

}  // namespace
}  // namespace soma::runtime::api
