// What every tenant remembers, findable: vectors and words, folded from valid frames.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "events/frames.h"
#include "runtime/effects/runner.h"
#include "runtime/effects/slm_client.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"
#include "soma/v1/memory.pb.h"

namespace soma::runtime {

// One index object per tenant. Thread-safe: recalls run side by side, frames one at a time.
class MemoryIndex {
 public:
  static constexpr std::size_t kMaxFactsPerTenant = 200'000;
  static constexpr std::size_t kMaxTopK = 200;

  struct Query {
    std::string tenant;
    std::string text;
    std::vector<float> vector;  // unit length; empty: words alone
    std::size_t top_k = 5;
  };

  MemoryIndex();
  ~MemoryIndex();
  MemoryIndex(const MemoryIndex&) = delete;
  MemoryIndex& operator=(const MemoryIndex&) = delete;

  // For Host::on_frame.
  void on_frame(const events::ValidFrame& frame);
  // Folds the whole journal; before the host starts.
  Status rebuild(const events::Log& log);
  // Scores never rise down the list. An empty memory gives nothing.
  v1::RecallResult recall(const Query& query) const;
  // False when the index has not reached the position in time.
  bool wait_for(Position position, std::int64_t timeout_ms) const;
  std::size_t size(const std::string& tenant) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Recall with the query's vector from the embedding server; without one by words alone, marked
// degraded.
RecallFunction make_recall(MemoryIndex& index, SlmClient& client,
                           SlmClient::Resolve embedding_endpoint);

}  // namespace soma::runtime
