// Erasing a person: the key first, then every cache that was made with it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>

#include "projections/projections.h"
#include "runtime/erasure/records.h"
#include "runtime/host/host.h"
#include "runtime/host/worker.h"
#include "runtime/memory/memory_index.h"
#include "runtime/privacy/seal.h"
#include "runtime/security/keys.h"

namespace soma::runtime::erasure {

struct Parts {  // not owned; all outlive the erasures
  events::Log* log = nullptr;
  std::shared_ptr<privacy::VaultSealer> sealer;
  Host* host = nullptr;
  StateStore* store = nullptr;
  MemoryIndex* memory = nullptr;
  projections::Projections* projections = nullptr;
  const Clock* clock = nullptr;
  std::string data_dir;
  std::function<Result<security::Key>()> key;  // signs certificates
};

// One erasure at a time, on a thread of its own. Thread-safe. What a crash interrupts goes on with
// resume(). The log is not changed: what is sealed in it can no longer be opened.
class Erasures {
 public:
  explicit Erasures(Parts parts);
  ~Erasures();

  // Kept on disk when it returns, and under way. The id.
  Result<std::string> begin(const v1::Principal& by, const std::string& subject,
                            const std::string& reason);
  // Goes on with what an earlier life of the process left. When all partitions serve.
  Status resume();
  // Certificates of a tenant, the newest first; before them those under way: {erasure_id, status,
  // requested_at, problem?}.
  Result<std::vector<boost::json::object>> of(const std::string& tenant) const;
  // The erasure, done or under way, that a command would undo, since it holds data of its subject
  // from before it; empty: there is none. `subject` owns what names no other, `recorded_ms` says
  // when the oldest of it was recorded.
  Result<std::string> undone_by(const v1::ActorRef& actor, const std::string& command,
                                const std::string& subject, std::int64_t recorded_ms) const;

 private:
  struct Counts {
    std::uint64_t sealed = 0;    // entries that hold something of the subject under the key
    std::uint64_t in_clear = 0;  // values of the subject that were recorded without a key
    std::uint64_t named = 0;     // entries of administration that name the subject as who acted
    std::string first_clear;     // position of the first
  };
  void run(const Pending& pending);
  Result<boost::json::object> erase(const Pending& pending);
  Result<Accepted> record(const Pending& pending);
  Result<Counts> count(const Pending& pending, const std::vector<std::string>& keys) const;
  Status drop_states();
  bool stopping() const { return stopping_; }

  const Parts p_;
  const Records records_;
  mutable std::mutex mutex_;  // of the records and the problem
  std::string problem_;
  std::atomic<bool> stopping_{false};
  Worker worker_{"soma-erase"};
};

}  // namespace soma::runtime::erasure
