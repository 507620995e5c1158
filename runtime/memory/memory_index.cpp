// Vectors (hnswlib), words (BM25), and their fusion.
#include "runtime/memory/memory_index.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <tuple>
#include <unordered_map>

#include "runtime/host/worker.h"
#include "runtime/memory/journal_follower.h"
#include "runtime/memory/vector_index.h"
#include "runtime/memory/word_index.h"

namespace soma::runtime {

namespace {

constexpr std::size_t kMinWordCandidates = 128;  // the best by words alone that are looked at
constexpr double kWordWeight = 0.35;             // of the fused score; the rest is the cosine
constexpr double kNamedFrom = 0.9;  // scores of facts that have a rare word with a digit in it

// One tenant's facts. Guarded by the index's lock.
struct TenantFacts {
  std::map<std::uint64_t, v1::MemoryFact> facts;  // by label
  std::map<std::string, std::uint64_t> labels;    // by memory id
  std::uint64_t next_label = 1;
  std::size_t bytes = 0;       // of texts and payloads
  std::uint64_t left_out = 0;  // facts that the limits kept from being found
  WordIndex words;
  std::unique_ptr<VectorIndex> vectors;

  static std::size_t size_of(const v1::MemoryFact& f) {
    return f.text().size() + f.payload_json().size();
  }

  void forget(const std::string& id) {
    auto it = labels.find(id);
    if (it == labels.end()) return;
    if (vectors) vectors->remove(it->second);
    words.remove(it->second);
    bytes -= size_of(facts[it->second]);
    facts.erase(it->second);
    labels.erase(it);
  }

  void remember(v1::MemoryFact fact) {
    forget(fact.memory_id());
    if (facts.size() >= MemoryIndex::kMaxFactsPerTenant ||
        bytes + size_of(fact) > MemoryIndex::kMaxBytesPerTenant) {
      ++left_out;
      return;
    }
    bytes += size_of(fact);
    const std::uint64_t label = next_label++;
    labels[fact.memory_id()] = label;
    words.add(label, fact.text());
    facts[label] = std::move(fact);
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

// Adds one call and its time.
class Timed {
 public:
  Timed(std::atomic<std::uint64_t>& calls, std::atomic<std::uint64_t>& us) : us_(us) {
    calls.fetch_add(1, std::memory_order_relaxed);
  }
  ~Timed() {
    const auto took = std::chrono::steady_clock::now() - began_;
    us_.fetch_add(static_cast<std::uint64_t>(
                      std::chrono::duration_cast<std::chrono::microseconds>(took).count()),
                  std::memory_order_relaxed);
  }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  std::atomic<std::uint64_t>& us_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

struct Scored {
  double score = 0;
  bool by_vector = false, by_words = false, named = false;
};

}  // namespace

struct MemoryIndex::Impl {
  mutable std::shared_mutex mutex;
  std::map<std::string, TenantFacts> tenants;
  mutable std::mutex positions_mutex;
  mutable std::condition_variable moved;
  std::map<PartitionId, Offset> seen;  // next offset per partition
  std::unique_ptr<JournalFollower> follower;
  std::unique_ptr<Worker> waiter;  // for recalls that have to wait
  Worker searcher{"soma-recall"};
  std::uint32_t partitions = 0;
  mutable std::atomic<std::uint64_t> recalls{0}, recall_us{0};

  // Builds graphs of vectors, off the threads that commit.
  std::mutex indexer_mutex;
  std::condition_variable indexer_wake;
  bool indexing_wanted = false, stopping = false;
  // Nobody waits for the index any more. Set under the lock under which waits and searches are
  // posted: none is left with a thread that has ended.
  std::atomic<bool> stopped{false};
  std::mutex posting_mutex;
  std::thread indexer{[this] { index_loop(); }};

  ~Impl() {
    end_searches();
    waiter.reset();
    searcher.stop();
    follower.reset();  // its thread takes frames into what is below
    {
      std::lock_guard lock(indexer_mutex);
      stopping = true;
    }
    indexer_wake.notify_all();
    indexer.join();
  }

  void end_searches() {
    std::lock_guard lock(posting_mutex);
    stopped = true;
  }

  // False, and not posted, when it has stopped.
  bool post(Worker& worker, std::function<void()> task) {
    std::lock_guard lock(posting_mutex);
    if (!stopped) worker.post(std::move(task));
    return !stopped;
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
          auto& fact = *event.mutable_memory_remembered()->mutable_fact();
          fact.set_memory_id(entry.actor().id());
          tenant.remember(std::move(fact));
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

void MemoryIndex::on_frame(const events::ValidFrame& frame) {
  if (impl_->follower)
    impl_->follower->observed(frame);
  else
    impl_->take(frame);
}

void MemoryIndex::follow(const events::Log& log, bool shared) {
  impl_->partitions = log.partition_count();
  impl_->waiter = std::make_unique<Worker>();
  impl_->follower = std::make_unique<JournalFollower>(
      log, [impl = impl_.get()](const events::ValidFrame& frame) { impl->take(frame); },
      shared ? JournalFollower::From::kLog : JournalFollower::From::kHostAndLog);
}

bool MemoryIndex::start_over(std::int64_t timeout_ms) {
  if (!impl_->follower) return false;
  impl_->follower->start_over([impl = impl_.get()] {
    std::unique_lock lock(impl->mutex);
    impl->tenants.clear();
  });
  return impl_->follower->settle(timeout_ms);
}

// The threads' objects stay until the index goes: others may be asking meanwhile.
void MemoryIndex::stop() {
  impl_->end_searches();
  if (impl_->follower) impl_->follower->stop();
  if (impl_->waiter) impl_->waiter->stop();
  impl_->searcher.stop();  // what waits is answered
}

bool MemoryIndex::stopped() const { return impl_->stopped; }

void MemoryIndex::when_settled(std::optional<Position> at_least,
                               std::function<void(bool)> done) const {
  const auto* follower = impl_->follower.get();
  const auto within = [this, follower, at_least](std::int64_t ms) {
    return (!at_least || wait_for(*at_least, ms)) && (!follower || follower->settle(ms));
  };
  const bool settled = within(0);  // asked once: a moment later more may have come
  if (settled || !follower) return done(settled);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kSettleMs);
  const bool posted = impl_->post(*impl_->waiter, [within, deadline, done] {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    done(within(std::max<std::int64_t>(0, left.count())));
  });
  if (!posted) done(false);
}

void MemoryIndex::recall_apart(Query query, RecallDone done) const {
  const auto stopping = [] { return fail(Code::kUnavailable, "the node is stopping", kStopping); };
  const bool posted =
      impl_->post(impl_->searcher, [this, stopping, query = std::move(query), done] {
        if (stopped()) return done(stopping());
        done(recall(query));
      });
  if (!posted) done(stopping());
}

MemoryIndex::Stats MemoryIndex::stats() const {
  Stats out;
  {
    std::shared_lock lock(impl_->mutex);
    out.tenants = impl_->tenants.size();
    for (const auto& [name, tenant] : impl_->tenants) {
      out.facts += tenant.facts.size();
      out.vectors += tenant.vectors ? tenant.vectors->size() : 0;
      out.bytes += tenant.bytes;
      out.left_out += tenant.left_out;
    }
  }
  if (impl_->follower) {
    auto progress = impl_->follower->progress();
    out.records_taken = progress.taken;
    out.records_total = progress.total;
    out.problem = std::move(progress.problem);
  }
  out.recalls = impl_->recalls;
  out.recall_us = impl_->recall_us;
  return out;
}

Status MemoryIndex::rebuild(const events::Log& log) {
  return events::each_frame(log, [&](const events::ValidFrame& frame) {
    impl_->take(frame);
    return true;
  });
}

v1::RecallResult MemoryIndex::recall(const Query& query) const {
  const Timed timed(impl_->recalls, impl_->recall_us);
  v1::RecallResult out;
  if (impl_->follower) {
    const ActorKey any{query.tenant, "memory", {}, query.tenant};
    const PartitionId home = partition_of(any, impl_->partitions);
    if (const auto next = impl_->follower->next(home); next.value > 0)
      out.set_index_position(to_string(Position{home, Offset{next.value - 1}}));
  }
  std::shared_lock lock(impl_->mutex);
  auto it = impl_->tenants.find(query.tenant);
  if (it == impl_->tenants.end()) return out;
  const TenantFacts& tenant = it->second;
  const std::size_t top_k = std::min(query.top_k, kMaxTopK);
  if (tenant.left_out > 0) {
    out.set_degraded(true);
    out.set_degraded_reason("the tenant's memory is full: " + std::to_string(tenant.left_out) +
                            " facts cannot be found");
  }
  std::unordered_map<std::uint64_t, Scored> scored;
  const auto words = tenant.words.search(query.text);
  std::vector<std::pair<std::uint64_t, WordIndex::Match>> by_words(words.begin(), words.end());
  const auto better = [](const auto& a, const auto& b) {
    return std::tuple(a.second.named, a.second.score, a.first) >
           std::tuple(b.second.named, b.second.score, b.first);
  };
  const std::size_t candidates = std::max<std::size_t>(top_k * 4, kMinWordCandidates);
  if (by_words.size() > candidates) {
    std::nth_element(by_words.begin(), by_words.begin() + static_cast<std::ptrdiff_t>(candidates),
                     by_words.end(), better);
    by_words.resize(candidates);
  }
  for (const auto& [label, match] : by_words)
    scored[label] = {.score = kWordWeight * match.score, .by_words = true, .named = match.named};
  if (tenant.vectors && query.vector.size() == tenant.vectors->dimension()) {
    const std::size_t want = std::max<std::size_t>(top_k * 4, 32);
    for (const auto& [label, cosine] : tenant.vectors->nearest(query.vector, want)) {
      auto& s = scored[label];
      if (auto w = words.find(label); w != words.end() && !s.by_words)
        s = {.score = kWordWeight * w->second.score, .by_words = true, .named = w->second.named};
      s.score += (1 - kWordWeight) * std::max(0.0, static_cast<double>(cosine));
      s.by_vector = true;
    }
  }
  for (auto& [label, s] : scored)  // who gives an order's number means it
    s.score = s.named ? kNamedFrom + (1 - kNamedFrom) * s.score : std::min(s.score, kNamedFrom);
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
    m->set_user(fact->second.user());
  }
  return out;
}

bool MemoryIndex::wait_for(Position position, std::int64_t timeout_ms) const {
  if (impl_->follower) return impl_->follower->wait_for(position, timeout_ms);
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

}  // namespace soma::runtime
