// Mode, guardrails and training locks: given / when / then.
#include "actors/gateway/gateway.h"

#include "actors/gateway/guardrails.h"
#include "soma/v1/approval.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Gateway = Given<GatewayDecider>;
const std::string kGood =
    "facts { chat_provider: 'openai' constitution_signed: true audit_on: true }";

std::vector<std::string> failed(const Gateway& gateway) {
  std::vector<std::string> out;
  for (const auto& f : gateway.reply().failed()) out.push_back(f.guardrail());
  return out;
}

TEST(Mode, EveryGuardrailThatFailsIsNamed) {
  Gateway gateway(gateway_key());
  gateway.when("start_training { tenant: 'acme' }").then({"training.started"});
  const std::string bad = "facts { chat_provider: 'x' mock_provider: true anonymous_access: true }";
  gateway.when("set_mode { mode: 'production' server_mode: 'test' " + bad + " }").then({});
  EXPECT_EQ(failed(gateway),
            (std::vector<std::string>{"mock_provider", "constitution_signed", "anonymous_access",
                                      "training_closed", "audit_on"}));
  gateway.when("set_mode { mode: 'test' server_mode: 'test' " + bad + " }").then({});
  EXPECT_EQ(failed(gateway),
            (std::vector<std::string>{"anonymous_access", "training_closed", "audit_on"}));
  gateway.when("set_mode { mode: 'developer-full' " + bad + " }").then({});
  EXPECT_EQ(failed(gateway), std::vector<std::string>{"audit_on"});
  EXPECT_EQ(gateway.state().mode(), "");
}

TEST(Mode, EachGuardrailAloneKeepsProductionClosed) {
  const std::pair<const char*, std::string> alone[] = {
      {"mock_provider", "facts { constitution_signed: true audit_on: true }"},
      {"mock_provider",
       "facts { chat_provider: 'x' mock_provider: true constitution_signed: true audit_on: true }"},
      {"constitution_signed", "facts { chat_provider: 'x' audit_on: true }"},
      {"anonymous_access",
       "facts { chat_provider: 'x' constitution_signed: true audit_on: true anonymous_access: true "
       "}"},
      {"audit_on", "facts { chat_provider: 'x' constitution_signed: true }"}};
  for (const auto& [name, facts] : alone) {
    Gateway gateway(gateway_key());
    gateway.when("set_mode { mode: 'production-debug' " + facts + " }").then({});
    EXPECT_EQ(failed(gateway), std::vector<std::string>{name});
  }
}

TEST(Mode, IsRecordedOnce) {
  Gateway gateway(gateway_key());
  const std::string set = "set_mode { mode: 'production' server_mode: 'test' " + kGood + " }";
  gateway.when(set).then({"mode.changed"});
  EXPECT_EQ(gateway.state().mode(), "production");
  gateway.when("set_mode { mode: 'production' server_mode: 'production' " + kGood + " }").then({});
  EXPECT_FALSE(gateway.reply().changed());
  gateway.when("set_mode { mode: 'staging' " + kGood + " }")
      .refused(Code::kInvalidArgument, "body.mode");
}

TEST(Mode, StricterWinsAndUnknownNever) {
  EXPECT_EQ(stricter_mode("test", "production-debug"), "production-debug");
  EXPECT_EQ(stricter_mode("production", "developer-light"), "production");
  EXPECT_EQ(stricter_mode("test", ""), "test");
  EXPECT_EQ(stricter_mode("", "developer-light"), "developer-light");
}

const std::string kLeave =
    "set_mode { mode: 'test' server_mode: 'production' two_keys_to_leave: true " + kGood + " }";

TEST(Mode, LeavingProductionWaitsForAnotherPerson) {
  Gateway gateway(gateway_key(), {"mode_changed { mode: 'production' }"});
  gateway.when(kLeave).then({"mode.proposed"});
  EXPECT_EQ(gateway.state().mode(), "production");
  const std::string id = gateway.reply().approval_id();
  ASSERT_EQ(gateway.sends().size(), 1u);
  EXPECT_EQ(gateway.sends()[0].to.tenant, "_global") << "a register that people can reach";
  v1::ApprovalsCommand asked;
  ASSERT_TRUE(asked.ParseFromString(gateway.sends()[0].command));
  EXPECT_EQ(asked.request_approval().approval().requested_by(), "ana");
  EXPECT_EQ(asked.request_approval().approval().action(), "settings.mode");
  gateway.when(kLeave).then({});
  EXPECT_EQ(gateway.reply().approval_id(), id) << "the same again waits for the same";
  gateway
      .when("set_mode { mode: 'developer-full' server_mode: 'production' two_keys_to_leave: true " +
            kGood + " }")
      .refused(Code::kConflict);
  gateway.when("approved { approval_id: 'another' approved_by: 'bob' }").then({});
  gateway.when("approved { approval_id: '" + id + "' approved_by: 'bob' }").then({"mode.changed"});
  EXPECT_EQ(gateway.state().mode(), "test");
  EXPECT_FALSE(gateway.state().has_proposed());
  gateway.when("approved { approval_id: '" + id + "' approved_by: 'bob' }").then({});
}

TEST(Mode, LeavingProductionIsRejectedOrOvertaken) {
  Gateway gateway(gateway_key(), {"mode_changed { mode: 'production' }"});
  gateway.when(kLeave).then({"mode.proposed"});
  gateway.when("rejected { approval_id: '" + gateway.reply().approval_id() + "' }")
      .then({"mode.withdrawn"});
  EXPECT_EQ(gateway.state().mode(), "production");
  gateway.when(kLeave).then({"mode.proposed"});
  const std::string id = gateway.reply().approval_id();
  gateway.after(
      message<v1::GatewayEvent>("training_started { lock { tenant: 'acme' locked_by: 'carol' } }"));
  gateway.when("approved { approval_id: '" + id + "' approved_by: 'bob' }")
      .then({"mode.withdrawn"});
  EXPECT_EQ(gateway.state().mode(), "production") << "the guardrails are judged again";
}

TEST(Mode, OneKeyIsEnoughWithinProductionAndOutsideOfIt) {
  Gateway gateway(gateway_key(), {"mode_changed { mode: 'production' }"});
  gateway
      .when(
          "set_mode { mode: 'production-debug' server_mode: 'production' two_keys_to_leave: true " +
          kGood + " }")
      .then({"mode.changed"});
  Gateway test(gateway_key(), {"mode_changed { mode: 'test' }"});
  test.when("set_mode { mode: 'developer-full' server_mode: 'test' two_keys_to_leave: true " +
            kGood + " }")
      .then({"mode.changed"});
  Gateway stale(gateway_key(), {"mode_changed { mode: 'production' }"});
  stale
      .when("set_mode { mode: 'developer-full' server_mode: 'test' two_keys_to_leave: true " +
            kGood + " }")
      .then({"mode.proposed"});  // a node that has not heard of the switch does not decide
}

TEST(Training, ProductionTakesNoLock) {
  Gateway gateway(gateway_key());
  for (const char* mode : {"production", "production-debug"})
    gateway.when(std::string("start_training { tenant: 'acme' server_mode: '") + mode + "' }")
        .refused(Code::kConflict);
  gateway.when("start_training { tenant: 'acme' server_mode: 'test' }").then({"training.started"});
  gateway.when("stop_training { tenant: 'acme' }").then({"training.stopped"});
}

TEST(Training, OneHolderWhoAloneEndsIt) {
  Gateway gateway(gateway_key());  // the principal is ana
  gateway.when("start_training { tenant: 'acme' }").then({"training.started"});
  gateway.when("start_training { tenant: 'acme' }").then({});
  EXPECT_EQ(gateway.reply().lock().locked_by(), "ana");
  EXPECT_TRUE(gateway.reply().state().training().empty()) << "answers never list locks";
  gateway.when("stop_training { tenant: 'rival' }").then({});
  gateway.when("stop_training { tenant: 'acme' }").then({"training.stopped"});
  EXPECT_FALSE(gateway.state().training().contains("acme"));
  Gateway other(gateway_key(), {"training_started { lock { tenant: 'acme' locked_by: 'bob' } }"});
  other.when("start_training { tenant: 'acme' }").refused(Code::kConflict);
  other.when("stop_training { tenant: 'acme' }").refused(Code::kForbidden);
  EXPECT_TRUE(other.state().training().contains("acme"));
}

}  // namespace
}  // namespace soma::actors
