// Erasing a person: the key first, then every cache that was made with it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "projections/projections.h"
#include "runtime/erasure/records.h"
#include "runtime/host/host.h"
#include "runtime/host/worker.h"
#include "runtime/memory/memory_index.h"
#include "runtime/privacy/seal.h"
#include "runtime/security/keys.h"
#include "soma/v1/erasure.pb.h"

namespace soma::runtime::erasure {

struct Parts {  // not owned; all outlive the erasures
  events::Log* log = nullptr;
  std::shared_ptr<privacy::SubjectSealer> sealer;
  Host* host = nullptr;
  StateStore* store = nullptr;
  MemoryIndex* memory = nullptr;
  projections::Projections* projections = nullptr;
  const Clock* clock = nullptr;
  std::string data_dir;
  std::function<Result<security::Key>()> key;  // signs certificates
  bool two_keys = false;                       // in production modes a second person must approve
};

// One erasure at a time, on a thread of its own; with two keys from when the log holds that it was
// approved. Thread-safe. What a crash interrupts goes on with
// resume(). The log is not changed: what is sealed in it can no longer be opened.
class Erasures {
 public:
  explicit Erasures(Parts parts);
  ~Erasures();
  // What runs ends between two steps, who waits is told that the node stops; the next start goes
  // on. While the host is there.
  void stop();

  // Kept on disk when it returns, and under way. The id.
  Result<std::string> begin(const v1::Principal& by, const std::string& subject,
                            const std::string& reason);
  bool two_keys() const { return p_.two_keys; }
  // Keeps one on disk under this id until the tenant's erasure actor, which is asked next, says
  // that a second person approved it, or that nobody did. The same id again: the same. The hash by
  // which the actor knows the subject.
  Result<std::string> wait(const std::string& id, const v1::Principal& by,
                           const std::string& subject, const std::string& reason);
  // The actor refused for good what wait() kept: nothing that names the person stays.
  void forget(const std::string& id);
  // Goes on with what an earlier life of the process left. When all partitions serve.
  Status resume();
  // Certificates of a tenant, the newest first; before them those under way: {erasure_id, status,
  // requested_at, problem?}, and those that wait, with the subject and the approval that is open.
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
  Pending pending_of(std::string id, const v1::Principal& by, const std::string& subject,
                     const std::string& reason) const;
  void follow(const events::ValidFrame& frame);
  void approved(const std::string& id, const std::string& by);
  void withdrawn(const std::string& id);
  void look(const Pending& pending);
  Result<v1::ErasureState> requests_of(const std::string& tenant) const;
  std::optional<Pending> waiting(const std::string& id) const;
  bool waits(const std::string& tenant) const;  // one of its requests for a second person
  boost::json::object shown(const Pending& pending, const v1::ErasureState& requests) const;
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
  std::set<std::string> here_;   // asked for in this life of the process
  std::set<std::string> begun_;  // of those with two keys: approved, and under way
  std::atomic<bool> stopping_{false};
  std::uint64_t observer_ = 0;
  Worker worker_{"soma-erase"};
};

}  // namespace soma::runtime::erasure
