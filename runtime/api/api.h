// What the routes need of the node, and the functions that register them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "actors/actor_type.h"
#include "runtime/api/frame_hub.h"
#include "runtime/effects/runner.h"
#include "runtime/host/host.h"
#include "runtime/host/worker.h"
#include "runtime/http/router.h"
#include "runtime/memory/memory_index.h"
#include "runtime/telemetry/metrics.h"

namespace soma::projections {
class Projections;
}

namespace soma::runtime::api {

// All outlive the server. Immutable after the node is composed.
struct Node {
  Host* host = nullptr;
  const actors::Catalog* catalog = nullptr;
  Clock* clock = nullptr;
  FrameHub* frames = nullptr;
  TokenHub* tokens = nullptr;
  SlmClient* slm = nullptr;
  SlmClient::Resolve chat_endpoint;
  SlmClient::Resolve embedding_endpoint;
  MemoryIndex* memory = nullptr;
  projections::Projections* projections = nullptr;  // null: none configured
  Metrics* metrics = nullptr;
  Worker* worker = nullptr;   // for what blocks
  Worker* patient = nullptr;  // for what takes minutes
  std::string mode;           // deployment mode of the server
  std::int64_t position_wait_ms = 2000;
  std::function<std::string()> jwks;  // public keys, for others to verify our tokens
};

void register_sessions(http::Router& router, const Node& node);
void register_inference(http::Router& router, const Node& node);
void register_memories(http::Router& router, const Node& node);
void register_governance(http::Router& router, const Node& node);
void register_admin(http::Router& router, const Node& node);
void register_bench(http::Router& router, const Node& node);  // nothing but in developer modes

}  // namespace soma::runtime::api
