// Vectors (hnswlib), words (BM25), and their fusion.
#include "runtime/memory/memory_index.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "runtime/memory/vector_index.h"
#include "runtime/memory/word_index.h"

namespace soma::runtime {

namespace {

constexpr double kWordWeight = 0.5;  // of the fused score; the rest is the cosine

// One tenant's facts. Guarded by the index's lock.
struct TenantFacts {
  std::map<std::uint64_t, v1::MemoryFact> facts;  // by label
  std::map<std::string, std::uint64_t> labels;    // by memory id
  std::uint64_t next_label = 1;
  WordIndex words;
  std::unique_ptr<VectorIndex> vectors;

  void forget(const std::string& id) {
    auto it = labels.find(id);
    if (it == labels.end()) return;
    if (vectors) vectors->remove(it->second);
    words.remove(it->second);
    facts.erase(it->second);
    labels.erase(it);
  }

  void remember(const v1::MemoryFact& fact) {
    forget(fact.memory_id());
    if (facts.size() >= MemoryIndex::kMaxFactsPerTenant) return;
    const std::uint64_t label = next_label++;
    facts[label] = fact;
    labels[fact.memory_id()] = label;
    words.add(label, fact.text());
  }

  void embed(const std::string& id, const v1::Embedding& e) {
    auto it = labels.find(id);
    if (it == labels.end() || e.values().empty()) return;
    const auto size = static_cast<std::size_t>(e.values_size());
    if (!vectors) vectors = std::make_unique<VectorIndex>(size);
    if (size != vectors->dimension()) return;  // of another model; the words still find it
    vectors->remove(it->second);
    vectors->add(it->second, {e.values().data(), size});
  }
};

struct Scored {
  double score = 0;
  bool by_vector = false, by_words = false;
};

}  // namespace

struct MemoryIndex::Impl {
  mutable std::shared_mutex mutex;
  std::map<std::string, TenantFacts> tenants;
  mutable std::mutex positions_mutex;
  mutable std::condition_variable moved;
  std::map<PartitionId, Offset> seen;  // next offset per partition

  // Builds graphs of vectors, off the threads that commit.
  std::mutex indexer_mutex;
  std::condition_variable indexer_wake;
  bool indexing_wanted = false, stopping = false;
  std::thread indexer{[this] { index_loop(); }};

  ~Impl() {
    {
      std::lock_guard lock(indexer_mutex);
      stopping = true;
    }
    indexer_wake.notify_all();
    indexer.join();
  }

  void index_loop() {
    for (;;) {
      {
        std::unique_lock lock(indexer_mutex);
        indexer_wake.wait(lock, [&] { return indexing_wanted || stopping; });
        if (stopping) return;
        indexing_wanted = false;
      }
      bool more = false;
      {
        std::shared_lock lock(mutex);  // for one vector of each tenant: a commit may be waiting
        for (auto& [name, tenant] : tenants)
          if (tenant.vectors) more |= tenant.vectors->index_some(1);
      }
      if (more) want_indexing();
    }
  }

  void want_indexing() {
    {
      std::lock_guard lock(indexer_mutex);
      indexing_wanted = true;
    }
    indexer_wake.notify_all();
  }

  void take(const events::ValidFrame& valid) {
    for (const auto& entry : valid.frame->entries()) {
      if (entry.actor().type() != "memory") continue;
      std::unique_lock lock(mutex);
      auto& tenant = tenants[entry.actor().tenant()];
      for (const auto& recorded : entry.events()) {
        v1::MemoryEvent event;
        if (!event.ParseFromString(recorded.payload())) continue;
        if (event.has_memory_remembered()) {
          v1::MemoryFact fact = event.memory_remembered().fact();
          fact.set_memory_id(entry.actor().id());
          tenant.remember(fact);
          if (event.memory_remembered().has_embedding())
            tenant.embed(entry.actor().id(), event.memory_remembered().embedding());
        } else if (event.has_memory_embedded()) {
          tenant.embed(entry.actor().id(), event.memory_embedded().embedding());
        } else if (event.has_memory_forgotten()) {
          tenant.forget(entry.actor().id());
        }
      }
      if (tenant.vectors && tenant.vectors->wants_indexing()) want_indexing();
    }
    {
      std::lock_guard lock(positions_mutex);
      auto& next = seen[valid.position.partition];
      next = std::max(next, valid.position.offset.next());
    }
    moved.notify_all();
  }
};

MemoryIndex::MemoryIndex() : impl_(std::make_unique<Impl>()) {}
MemoryIndex::~MemoryIndex() = default;

void MemoryIndex::on_frame(const events::ValidFrame& frame) { impl_->take(frame); }

Status MemoryIndex::rebuild(const events::Log& log) {
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    events::FrameReader reader(log, PartitionId{p});
    for (;;) {
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty()) break;
      for (const auto& frame : *frames) impl_->take(frame);
    }
  }
  return {};
}

v1::RecallResult MemoryIndex::recall(const Query& query) const {
  v1::RecallResult out;
  std::shared_lock lock(impl_->mutex);
  auto it = impl_->tenants.find(query.tenant);
  if (it == impl_->tenants.end()) return out;
  const TenantFacts& tenant = it->second;
  const std::size_t top_k = std::min(query.top_k, kMaxTopK);
  std::map<std::uint64_t, Scored> scored;
  const auto words = tenant.words.search(query.text);
  double best = 0;
  for (const auto& [label, score] : words) best = std::max(best, score);
  for (const auto& [label, score] :
       words) {  // relative to the best: words and cosines then share a scale
    scored[label].score += kWordWeight * score / best;
    scored[label].by_words = true;
  }
  if (tenant.vectors && query.vector.size() == tenant.vectors->dimension()) {
    const std::size_t want = std::max<std::size_t>(top_k * 4, 32);
    for (const auto& [label, cosine] : tenant.vectors->nearest(query.vector, want)) {
      auto& s = scored[label];
      s.score += (1 - kWordWeight) * std::max(0.0, static_cast<double>(cosine));
      s.by_vector = true;
    }
  }
  std::vector<std::pair<std::uint64_t, Scored>> order(scored.begin(), scored.end());
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.second.score != b.second.score ? a.second.score > b.second.score : a.first > b.first;
  });
  if (order.size() > top_k) order.resize(top_k);
  for (const auto& [label, s] : order) {
    auto fact = tenant.facts.find(label);
    if (fact == tenant.facts.end()) continue;
    auto* m = out.add_memories();
    m->set_memory_id(fact->second.memory_id());
    m->set_score(s.score);
    m->set_text(fact->second.text());
    m->set_retriever(s.by_vector && s.by_words ? "vector+lexical"
                     : s.by_vector             ? "vector"
                                               : "lexical");
    m->set_coord(fact->second.coord());
    m->set_payload_json(fact->second.payload_json());
  }
  return out;
}

bool MemoryIndex::wait_for(Position position, std::int64_t timeout_ms) const {
  std::unique_lock lock(impl_->positions_mutex);
  return impl_->moved.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
    auto it = impl_->seen.find(position.partition);
    return it != impl_->seen.end() && it->second > position.offset;
  });
}

std::size_t MemoryIndex::size(const std::string& tenant) const {
  std::shared_lock lock(impl_->mutex);
  auto it = impl_->tenants.find(tenant);
  return it == impl_->tenants.end() ? 0 : it->second.facts.size();
}

RecallFunction make_recall(MemoryIndex& index, SlmClient& client,
                           SlmClient::Resolve embedding_endpoint) {
  return [&index, &client, embedding_endpoint](const v1::RecallRequest& request, auto done) {
    MemoryIndex::Query query{request.tenant(), request.query(), {}, request.top_k()};
    if (index.size(query.tenant) == 0) return done(v1::RecallResult{});  // nothing to compare with
    const auto by_words = [&index, done](const MemoryIndex::Query& q, const Error& why) {
      v1::RecallResult result = index.recall(q);
      result.set_degraded(true);
      result.set_degraded_reason("embeddings are unavailable: " + why.message);
      done(std::move(result));
    };
    auto endpoint = embedding_endpoint();
    if (!endpoint) return by_words(query, endpoint.error());
    client.embed(*endpoint, {query.text},
                 [&index, query, done, by_words](Result<v1::EmbedResult> r) mutable {
                   if (!r) return by_words(query, r.error());
                   query.vector.assign(r->embeddings(0).values().begin(),
                                       r->embeddings(0).values().end());
                   done(index.recall(query));
                 });
  };
}

}  // namespace soma::runtime
