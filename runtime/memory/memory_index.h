// What every tenant remembers, findable: vectors and words, folded from valid frames.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/frames.h"
#include "runtime/effects/runner.h"
#include "runtime/effects/slm_client.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"
#include "soma/v1/memory.pb.h"

namespace soma::runtime {

// One index object per tenant. Thread-safe: recalls run side by side, frames one at a time. Either
// follow() a log, then frames are taken by a thread of its own, or hand it frames by on_frame().
class MemoryIndex {
 public:
  static constexpr std::size_t kMaxFactsPerTenant = 200'000;
  static constexpr std::size_t kMaxBytesPerTenant = 256 << 20;  // of texts and payloads
  static constexpr std::size_t kMaxTopK = 200;
  static constexpr std::int64_t kSettleMs = 2000;  // a recall waits for what was written before it

  using RecallDone = std::function<void(Result<v1::RecallResult>)>;
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
  // Returns at once; the journal is read in the background, and recalls wait for it, bounded.
  // Before the host starts. `log` outlives the index.
  // `shared`: other nodes write to it too; then frames come from the log alone.
  void follow(const events::Log& log, bool shared = false);
  // No waits, searches and following any more; before what recalls call back into goes.
  void stop();
  bool stopped() const;
  // Forgets all and follows the log from its start; true when it has caught up in time. Meanwhile
  // recalls find less. Only when following.
  bool start_over(std::int64_t timeout_ms);
  // Folds the whole journal, here and now.
  Status rebuild(const events::Log& log);
  // Calls back with true once all that was written before the call, and `at_least`, can be found;
  // with false after kSettleMs. At once, on the caller's thread, when that is so already.
  void when_settled(std::optional<Position> at_least, std::function<void(bool)> done) const;
  // Scores never rise down the list. An empty memory gives nothing.
  v1::RecallResult recall(const Query& query) const;
  // The same on a thread of its own, which calls back: a search takes a while, and who asks may
  // carry others' streams. At once with an error whose field is kStopping when the index stops.
  void recall_apart(Query query, RecallDone done) const;
  // False when the index has not reached the position in time.
  bool wait_for(Position position, std::int64_t timeout_ms) const;
  std::size_t size(const std::string& tenant) const;
  struct Stats {
    std::uint64_t tenants = 0, facts = 0, vectors = 0, bytes = 0, left_out = 0;
    std::uint64_t records_taken = 0, records_total = 0;  // of the log, when following
    std::string problem;
    std::uint64_t recalls = 0, recall_us = 0;  // since start
  };
  Stats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Recall with the query's vector from the embedding server; without one by words alone, marked
// degraded. What a stop cuts off is an error whose field is kStopping: a session would go on for
// good without what it remembers.
RecallFunction make_recall(MemoryIndex& index, SlmClient& client,
                           SlmClient::Resolve embedding_endpoint);

}  // namespace soma::runtime
