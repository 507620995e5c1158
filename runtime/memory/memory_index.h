// What every tenant remembers, findable: vectors and words, folded from valid frames.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "events/frames.h"
#include "schemas/base/errors.h"
#include "soma/v1/memory.pb.h"

namespace soma::runtime {

struct MemoryIndexLimits {
  std::size_t memories_per_tenant = 200'000;   // beyond it the oldest leave the index (not the journal)
  std::size_t waiting_recalls = 10'000;        // beyond it kOverloaded
  std::int64_t position_wait_ms = 2'000;       // for `at_least`, and for the first fold after start
  std::int64_t embed_wait_ms = 5'000;          // for the query's vector; then words alone
  std::uint32_t max_top_k = 200;
};

// Turns a query into a unit vector; calls back once, from any thread.
using EmbedQuery =
    std::function<void(const std::string& text, std::function<void(Result<v1::Embedding>)>)>;

// Which retrievers a recall asks; both unless told otherwise.
struct Retrievers {
  bool vector = true;
  bool lexical = true;
};

// Owns one thread and all tenants' indexes, one object per tenant: a recall cannot see another's.
// Thread-safe. A read model: whatever it holds can be folded again from the journal.
class MemoryIndex {
 public:
  using OnRecalled = std::function<void(Result<v1::RecallResult>)>;

  // `log` outlives the index. An empty `embed` means that there is no embedding model. Folding the
  // journal begins at once, on the index's thread; recalls wait for it (bounded).
  static std::unique_ptr<MemoryIndex> start(const events::Log& log, EmbedQuery embed,
                                            MemoryIndexLimits limits = {});
  virtual ~MemoryIndex() = default;

  // For Host::on_frame: the frames found valid from now on. Cheap; does not block. Frames that were
  // missed are read from the log when the next one shows the gap.
  virtual void on_frame(const events::ValidFrame& frame) = 0;

  // At most top_k memories of the request's tenant, scores never increasing down the list; an empty
  // memory gives an empty list. Waits (bounded) until the index has reached `at_least`, else
  // kUnavailable. Without query vectors: words only, degraded and why. Calls back once, from any
  // thread. kInvalidArgument: empty query, top_k or at_least out of range.
  virtual void recall(const v1::RecallRequest& request, OnRecalled done, Retrievers use = {}) = 0;

  struct TenantSize {
    std::size_t memories = 0;
    std::size_t vectors = 0;
    std::uint64_t left_out = 0;   // pushed out by the limit since start
  };
  virtual TenantSize size(const std::string& tenant) const = 0;
  // Folded up to here: the next offset of the partition. Ready: the journal as it was at start is in.
  virtual Offset next_offset(PartitionId partition) const = 0;
  virtual bool ready() const = 0;
};

}  // namespace soma::runtime
