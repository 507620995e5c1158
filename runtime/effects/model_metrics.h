// What model calls take and use, under OpenTelemetry's GenAI names.
#pragma once

#include <string>

#include "runtime/telemetry/metrics.h"
#include "soma/v1/model.pb.h"

namespace soma::runtime {

struct ModelCall {
  std::string operation;  // gen_ai.operation.name: chat, embeddings
  std::string model;      // which answered; empty when none did
  std::string error;      // the problem's code; empty when it went well
  double seconds = 0;
};

void record_model_call(Metrics& metrics, const ModelCall& call);
void record_tokens(Metrics& metrics, const v1::ModelAnswer& answer);

}  // namespace soma::runtime
