// gen_ai.client.operation.duration and gen_ai.client.token.usage, as Prometheus spells them.
#include "runtime/effects/model_metrics.h"

namespace soma::runtime {

namespace {

// The advised bounds of OpenTelemetry's conventions for generative AI.
const std::vector<double>& duration_buckets() {
  static const std::vector<double> buckets = {0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                              1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
  return buckets;
}

}  // namespace

void record_model_call(Metrics& metrics, const ModelCall& call) {
  Labels labels{{"gen_ai_operation_name", call.operation}};
  if (!call.model.empty()) labels["gen_ai_response_model"] = call.model;
  if (!call.error.empty()) labels["error_type"] = call.error;
  metrics
      .histogram("gen_ai_client_operation_duration_seconds",
                 "Model calls, from asking for a server to the answer's last token",
                 duration_buckets(), labels)
      .observe(call.seconds);
}

void record_tokens(Metrics& metrics, const v1::ModelAnswer& answer) {
  const auto used = [&](const char* type, std::uint64_t tokens) {
    metrics
        .histogram("gen_ai_client_token_usage", "Tokens of one model call", size_buckets(),
                   {{"gen_ai_operation_name", "chat"},
                    {"gen_ai_response_model", answer.model()},
                    {"gen_ai_token_type", type}})
        .observe(static_cast<double>(tokens));
  };
  used("input", answer.usage().prompt_tokens());
  used("output", answer.usage().completion_tokens());
}

}  // namespace soma::runtime
