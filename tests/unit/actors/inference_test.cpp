// One governed call outside a session.
#include "actors/inference/inference.h"

#include "soma/v1/tenant.pb.h"
#include "tests/unit/actors/given.h"

namespace soma::actors {
namespace {

using Inference = Given<InferenceDecider>;
const ActorKey kCall{"demo", "inference", "i1", {}};
const std::string kStart =
    "start_inference { request { messages { role: 'user' content: 'hi' } } settings { "
    "deployment_mode: 'test' version: 4 } constitution { hash: 'c' } policy { confidence: 0.9 "
    "risk_score: 0.1 } }";

void granted(Inference& call) {
  call.when("budget_granted { reservation_id: '" + call.state().reservation_id() +
            "' tokens: 100 }");
}

TEST(Inference, FromStartToAnswer) {
  Inference call(kCall);
  call.when(kStart).then({"policy.decided", "inference.started"});
  EXPECT_EQ(call.event(0).policy_decided().decision().decision_id(),
            call.state().decision().decision_id());
  EXPECT_EQ(call.state().decision().settings_version(), 4u);
  granted(call);
  call.then({"inference.budget_reserved"});
  EXPECT_EQ(call.sends().at(0).to.type, "model");
  call.when("call_progress { call_id: '" + call.state().request().call_id() + "' attempt: 2 }")
      .then({"inference.restarted"});
  call.when("call_succeeded { answer { call_id: '" + call.state().request().call_id() +
            "' output: 'x' usage { prompt_tokens: 3 completion_tokens: 4 } } }")
      .then({"inference.answered"});
  v1::TenantCommand settle;
  ASSERT_TRUE(settle.ParseFromString(call.sends().at(0).command));
  EXPECT_EQ(settle.settle_budget().used_tokens(), 7);
  EXPECT_EQ(call.state().stage(), v1::INFERENCE_DONE);
  call.when(kStart).refused(Code::kConflict);
}

TEST(Inference, ADenialCallsNobody) {
  Inference call(kCall);
  call.when(
          "start_inference { request { messages { content: 'hi' } } settings { deployment_mode: "
          "'test' } policy { risk_score: 1 } }")
      .then({"policy.decided", "inference.started", "inference.failed"});
  EXPECT_FALSE(call.event(0).policy_decided().decision().allow());
  EXPECT_TRUE(call.sends().empty());
  EXPECT_EQ(call.state().error().code(), "policy_denied");
}

TEST(Inference, AnEmbeddingFallsBackToTheNextModelOfTheProfile) {
  Inference call(kCall);
  call.when(
      "start_inference { request { mode: 'embedding' model: 'big' fallbacks: 'small' profile: 'p' "
      "messages { content: 'hi' } } settings { deployment_mode: 'test' } constitution { hash: 'c' "
      "} "
      "policy { confidence: 0.9 risk_score: 0.1 } }");
  granted(call);
  const auto outcome = [&](const std::string& what) {
    const auto effect = call.effects().at(0);
    call.when("effect_outcome { effect_id: '" + effect.effect_id +
              "' attempt: " + std::to_string(effect.attempt) + " " + what + " }");
    v1::EmbedRequest request;
    if (!call.effects().empty()) EXPECT_TRUE(request.ParseFromString(call.effects()[0].request));
    return request.model();
  };
  EXPECT_EQ(outcome("failure { code: 'model_unavailable' retryable: true }"), "small");
  EXPECT_EQ(call.effects()[0].not_before_ms, 1000) << "at once";
  EXPECT_EQ(outcome("failure { code: 'model_unavailable' retryable: true }"), "small");
  v1::InferenceCommand done;
  done.mutable_effect_outcome()->set_effect_id(call.effects()[0].effect_id);
  done.mutable_effect_outcome()->set_attempt(3);
  v1::EmbedResult result;
  result.add_embeddings()->add_values(1);
  done.mutable_effect_outcome()->set_result(result.SerializeAsString());
  call.when(done).then({"model.fallback.used", "inference.embedded"});
  EXPECT_EQ(call.event(0).fallback_used().primary(), "big");
  EXPECT_EQ(call.event(0).fallback_used().model(), "small");
}

TEST(Inference, EmptyAndHugeInputsAreRefused) {
  Inference(kCall).when("start_inference { request { } }").refused(Code::kInvalidArgument);
  Inference(kCall)
      .when("start_inference { request { messages { content: '' } } }")
      .refused(Code::kInvalidArgument, "body.prompt");
  v1::InferenceCommand huge;
  huge.mutable_start_inference()->mutable_request()->add_messages()->set_content(
      std::string(257 * 1024, 'x'));
  Inference(kCall).when(huge).refused(Code::kInvalidArgument, "body.messages");
}

TEST(Inference, NoBudgetNoCall) {
  Inference call(kCall);
  call.when(kStart);
  call.when("budget_denied { reservation_id: '" + call.state().reservation_id() + "' }")
      .then({"inference.failed"});
  EXPECT_EQ(call.state().error().code(), "budget_exhausted");
}

TEST(Inference, CancellingGivesTheBudgetBackAndLateAnswersChangeNothing) {
  Inference call(kCall);
  call.when("cancel_inference {}").refused(Code::kNotFound);
  call.when(kStart);
  granted(call);
  call.when("cancel_inference {}").then({"inference.failed"});
  EXPECT_EQ(call.sends().size(), 2u);
  call.when("call_succeeded { answer { call_id: '" + call.state().request().call_id() + "' } }")
      .then({});
  call.when("call_died { call_id: '" + call.state().request().call_id() + "' }").then({});
  EXPECT_EQ(call.state().error().code(), "cancelled");
}

}  // namespace
}  // namespace soma::actors
