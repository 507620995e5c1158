// Settings by version, and a budget that is never exceeded.
#include "actors/tenant/tenant.h"

#include <random>

#include "soma/v1/approval.pb.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Tenant = Given<TenantDecider>;
const ActorKey kTenant = tenant_key("demo");

TEST(Tenant, DefaultsHoldUntilSettingsArePut) {
  const auto s = effective_settings({});
  EXPECT_EQ(s.deployment_mode(), "developer-light");
  EXPECT_EQ(s.budgets_tokens(), 5000);
  EXPECT_EQ(s.default_model_profile(), "default");
  EXPECT_EQ(s.version(), 0u);
}

TEST(Tenant, EachChangeIsAVersionAndTheSameAgainIsNone) {
  Tenant tenant(kTenant);
  const std::string put = "put_settings { settings { deployment_mode: 'test' budgets_tokens: 9 } }";
  tenant.when(put).then({"settings.changed"});
  EXPECT_EQ(tenant.state().settings().version(), 1u);
  const std::string hash = tenant.state().settings().hash();
  tenant.when(put).then({});
  EXPECT_FALSE(tenant.reply().changed());
  tenant.when("put_settings { settings { deployment_mode: 'test' budgets_tokens: 10 } }")
      .then({"settings.changed"});
  EXPECT_EQ(tenant.state().settings().version(), 2u);
  EXPECT_NE(tenant.state().settings().hash(), hash);
}

TEST(Tenant, AModeThatIsLeftOutStaysAsItIs) {
  Tenant tenant(kTenant);
  tenant.when("put_settings { settings { budgets_tokens: 9 } }").then({"settings.changed"});
  EXPECT_EQ(tenant.state().settings().deployment_mode(), "developer-light");
  tenant.when("put_settings { settings { deployment_mode: 'production' budgets_tokens: 9 } }")
      .then({"settings.changed"});
  tenant.when("put_settings { settings { budgets_tokens: 10 } }").then({"settings.changed"});
  EXPECT_EQ(tenant.state().settings().deployment_mode(), "production");
  tenant.when("put_settings { settings { budgets_tokens: 10 } }").then({});
}

std::string in_mode(const std::string& mode, int tokens = 9) {
  return "put_settings { settings { deployment_mode: '" + mode +
         "' budgets_tokens: " + std::to_string(tokens) + " } }";
}

TEST(Tenant, LeavingProductionWaitsForAnotherPerson) {
  Tenant tenant(kTenant);
  tenant.when(in_mode("test")).then({"settings.changed"});
  tenant.when(in_mode("production")).then({"settings.changed"});        // stricter: at once
  tenant.when(in_mode("production-debug")).then({"settings.changed"});  // two keys hold there, too
  tenant.when(in_mode("test")).then({"settings.proposed"});
  const std::string approval = tenant.reply().approval_id();
  EXPECT_FALSE(approval.empty());
  EXPECT_EQ(tenant.reply().settings().deployment_mode(), "production-debug");
  EXPECT_EQ(tenant.state().settings().deployment_mode(), "production-debug");
  v1::ApprovalsCommand asked;
  ASSERT_TRUE(asked.ParseFromString(tenant.sends().at(0).command));
  EXPECT_EQ(asked.request_approval().approval().requested_by(), "ana");
  EXPECT_EQ(asked.request_approval().approval().action(), "tenant.settings");
  tenant.when(in_mode("test")).then({});  // the same again is what waits
  EXPECT_EQ(tenant.reply().approval_id(), approval);
  tenant.when(in_mode("developer-light")).refused(Code::kConflict);
  tenant.when("roll_back_settings { version: 1 }").then({});  // the same settings, by another way
  tenant.when("approved { approval_id: 'another' approved_by: 'ben' }").then({});
  tenant.when("approved { approval_id: '" + approval + "' approved_by: 'ben' }")
      .then({"settings.changed"});
  EXPECT_EQ(tenant.state().settings().deployment_mode(), "test");
  EXPECT_EQ(tenant.event(0).settings_changed().changed_by(), "ana");
  EXPECT_EQ(tenant.event(0).settings_changed().approved_by(), "ben");
  EXPECT_FALSE(tenant.state().has_proposed());
  tenant.when("approved { approval_id: '" + approval + "' approved_by: 'ben' }").then({});  // once
}

// Whoever gives the second key reads all that it would change, not the mode alone.
TEST(Tenant, TheSecondKeyForLeavingProductionSeesEachMemberThatChanges) {
  Tenant tenant(kTenant);
  tenant
      .when(
          "put_settings { settings { deployment_mode: 'production' budgets_tokens: 9 display_name: "
          "'A' budgets { scope: 'user' unit: 'tokens' window: 'day' hard: 5 } } }")
      .then({"settings.changed"});
  tenant
      .when(
          "put_settings { settings { deployment_mode: 'test' budgets_tokens: 900000 display_name: "
          "'A' policy { threshold: 0.1 } } }")
      .then({"settings.proposed"});
  v1::ApprovalsCommand asked;
  ASSERT_TRUE(asked.ParseFromString(tenant.sends().at(0).command));
  const std::string summary = asked.request_approval().approval().summary();
  for (const char* part :
       {"version 1", "deployment_mode: \"production\" -> \"test\"", "budgets_tokens: 9 -> 900000",
        "policy: none -> threshold: 0.1", "hard: 5", "-> none"})
    EXPECT_NE(summary.find(part), std::string::npos) << part << " in " << summary;
  EXPECT_EQ(summary.find("display_name"), std::string::npos) << summary;
}

TEST(Tenant, ARollbackOutOfProductionWaitsToo) {
  Tenant tenant(kTenant);
  tenant.when(in_mode("test")).then({"settings.changed"});
  tenant.when(in_mode("production")).then({"settings.changed"});
  tenant.when("roll_back_settings { version: 1 }").then({"settings.proposed"});
  tenant
      .when("rejected { approval_id: '" + tenant.reply().approval_id() +
            "' rejected_by: 'ben' reason: 'no' }")
      .then({"settings.withdrawn"});
  EXPECT_EQ(tenant.state().settings().deployment_mode(), "production");
  EXPECT_FALSE(tenant.state().has_proposed());
}

TEST(Tenant, AChangeMeanwhileOvertakesWhatWaits) {
  Tenant tenant(kTenant);
  tenant.when(in_mode("production")).then({"settings.changed"});
  tenant.when(in_mode("test")).then({"settings.proposed"});
  const std::string approval = tenant.reply().approval_id();
  tenant.when(in_mode("production", 10)).then({"settings.changed", "settings.withdrawn"});
  v1::ApprovalsCommand told;
  ASSERT_TRUE(told.ParseFromString(tenant.sends().at(0).command));
  EXPECT_EQ(told.withdraw_approval().approval_id(), approval);
  tenant.when("approved { approval_id: '" + approval + "' approved_by: 'ben' }").then({});
  EXPECT_EQ(tenant.state().settings().deployment_mode(), "production");
}

TEST(Tenant, AStaleTagIsRefused) {
  Tenant tenant(kTenant);
  const std::string first = version_tag(effective_settings({}));
  const auto put = [](const std::string& tag, int tokens) {
    return "put_settings { settings { deployment_mode: 'test' budgets_tokens: " +
           std::to_string(tokens) + " } expected_tags: 'other' expected_tags: '" + tag + "' }";
  };
  tenant.when(put(first, 1)).then({"settings.changed"});  // version 0, the defaults, has a tag too
  tenant.when(put(first, 2)).refused(Code::kVersionMismatch);
  tenant.when(put(version_tag(tenant.state().settings()), 2)).then({"settings.changed"});
}

TEST(Tenant, UnknownModesAndNegativeBudgetsAreRefused) {
  Tenant tenant(kTenant);
  tenant.when("put_settings { settings { deployment_mode: 'staging' } }")
      .refused(Code::kInvalidArgument, "body.deployment_mode");
  tenant.when("put_settings { settings { deployment_mode: 'test' budgets_tokens: -1 } }")
      .refused(Code::kInvalidArgument, "body.budgets_tokens");
}

TEST(Tenant, AReservationIsAnsweredToItsHolder) {
  Tenant tenant(kTenant);
  tenant
      .when(
          "reserve_budget { reservation_id: 'r1' tokens: 4000 holder { tenant: 'demo' type: "
          "'session' id: 's' } }")
      .then({"budget.reserved"});
  v1::SessionCommand told;
  ASSERT_TRUE(told.ParseFromString(tenant.sends().at(0).command));
  EXPECT_EQ(told.budget_granted().remaining_tokens(), 1000);
  tenant
      .when(
          "reserve_budget { reservation_id: 'r2' tokens: 1001 holder { tenant: 'demo' type: "
          "'inference' id: 'i' } }")
      .then({"budget.refused"});
  v1::InferenceCommand denied;
  ASSERT_TRUE(denied.ParseFromString(tenant.sends().at(0).command));
  EXPECT_EQ(denied.budget_denied().remaining_tokens(), 1000);
  tenant.when("reserve_budget { reservation_id: 'r1' tokens: 4000 }").then({});  // known already
}

TEST(Tenant, SettlingAndReleasingAreOnce) {
  Tenant tenant(kTenant);
  tenant.when("reserve_budget { reservation_id: 'r1' tokens: 100 holder { type: 'session' } }");
  tenant.when("settle_budget { reservation_id: 'r1' used_tokens: 40 }").then({"budget.settled"});
  tenant.when("settle_budget { reservation_id: 'r1' used_tokens: 40 }").then({});
  tenant.when("release_budget { reservation_id: 'r1' }").then({});
  EXPECT_EQ(tenant.state().spent_tokens(), 40);
  EXPECT_EQ(tenant.state().reserved_tokens(), 0);
}

// Whatever comes in whatever order: what is reserved is the sum of the open reservations, and no
// reservation is granted beyond the budget.
TEST(Tenant, ReservationsNeverExceedTheBudget) {
  std::mt19937 random(11);
  Tenant tenant(kTenant, {"settings_changed { settings { budgets_tokens: 1000 version: 1 } }"});
  for (int i = 0; i < 3000; ++i) {
    const std::string id = "r" + std::to_string(random() % 40);
    const int tokens = 1 + static_cast<int>(random() % 300);
    const std::int64_t before = tenant.state().spent_tokens() + tenant.state().reserved_tokens();
    switch (random() % 3) {
      case 0:
        tenant.when("reserve_budget { reservation_id: '" + id + "' tokens: " +
                    std::to_string(tokens) + " holder { type: 'session' id: 's' } }");
        EXPECT_LE(tenant.state().spent_tokens() + tenant.state().reserved_tokens(),
                  std::max<std::int64_t>(1000, before));
        break;
      case 1:
        tenant.when("settle_budget { reservation_id: '" + id + "' used_tokens: 1 }");
        break;
      default:
        tenant.when("release_budget { reservation_id: '" + id + "' }");
    }
    std::int64_t open = 0;
    for (const auto& [name, r] : tenant.state().reservations()) open += r.tokens();
    ASSERT_EQ(open, tenant.state().reserved_tokens());
  }
  EXPECT_GT(tenant.state().spent_tokens(), 0);
}

}  // namespace
}  // namespace soma::actors
