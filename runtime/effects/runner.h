// Runs effects: model calls, embeddings, recalls. Does I/O and decides nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "runtime/effects/slm_client.h"
#include "runtime/effects/token_hub.h"
#include "runtime/host/ports.h"
#include "runtime/telemetry/metrics.h"

namespace soma::runtime {

// Answers a recall; calls back once, from any thread.
using RecallFunction =
    std::function<void(const v1::RecallRequest&, std::function<void(Result<v1::RecallResult>)>)>;

// Whether what a model call was allowed under is still in force: nothing, or what is. Calls back
// once, from any thread.
using LookAtTerms = std::function<void(const std::string& tenant, const v1::CallTerms&,
                                       std::function<void(Result<std::optional<v1::StartTerms>>)>)>;

struct RunnerParts {
  SlmClient* client = nullptr;  // not owned
  TokenHub* tokens = nullptr;
  SlmClient::Resolve chat_endpoint;  // an error: the model is not there now
  SlmClient::Resolve embedding_endpoint;
  RecallFunction recall;  // may be set before the first effect runs
  LookAtTerms look;       // as recall; absent: calls are sent as they are
  Metrics* metrics = nullptr;
  Clock* clock = nullptr;  // not owned; absent: no embedding is waited for beyond its tries
};

std::unique_ptr<EffectRunner> make_effect_runner(std::shared_ptr<RunnerParts> parts);

v1::Failure to_failure(const Error& error);

}  // namespace soma::runtime
