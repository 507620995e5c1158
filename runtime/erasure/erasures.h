// Erasing a person: the key first, then every cache that was made with it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "runtime/erasure/caches.h"
#include "runtime/erasure/topic_records.h"
#include "runtime/host/worker.h"
#include "runtime/privacy/seal.h"
#include "runtime/security/keys.h"
#include "soma/v1/erasure.pb.h"

namespace soma::runtime::erasure {

// Of a node that shares its journal. Requests, and which caches were dropped, stand beside the
// keys.
struct Shared {
  privacy::TopicKeys* keys = nullptr;
  TopicRecords* records = nullptr;
  // Whether this node carries erasures out. Two may for moments: what is ended stays ended, so none
  // of them destroys what was made later.
  std::function<bool()> carries_out;
  std::function<std::set<std::string>()> owners;  // ids of the nodes that serve partitions
  std::set<std::string> removed;     // by the operator's word: their folders are deleted
  std::int64_t span_ms = kStoresMs;  // what names no person has no lasting key, in one round
};

struct Parts {  // not owned; all outlive the erasures
  events::Log* log = nullptr;
  std::shared_ptr<privacy::SubjectSealer> sealer;
  Host* host = nullptr;
  std::string data_dir;
  const Clock* clock = nullptr;
  std::function<Result<security::Key>()> key;  // signs certificates
  bool two_keys = false;                       // in production modes a second person must approve
  std::optional<Shared> shared;
};

// One erasure at a time, on a thread of its own; with two keys from when the log holds that it was
// approved. On a cluster one node carries all out, and the others drop their caches by
// NodeCaches. Thread-safe. What a crash interrupts goes on with
// resume(). The log is not changed: what is sealed in it can no longer be opened.
class Erasures {
 public:
  Erasures(Parts parts, Work work);
  ~Erasures();
  // What runs ends between two steps, who waits is told that the node stops; the next start goes
  // on. While the host is there.
  void stop();
  void ask_stop() { stopping_ = true; }  // stop() joins

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
  // What was done in this life of the process is not done again; what is under way is waited for.
  struct Progress {
    std::optional<Accepted> recorded;
    std::optional<std::vector<std::string>> destroyed;
    std::optional<Remaking> states;
    std::optional<projections::Over> views;
  };
  Status erase(const Pending& pending, Progress& progress);
  Status destroy_keys(const Pending& pending, Progress& progress);
  struct Dropped {
    boost::json::object stores;
    boost::json::array nodes, waits_for;  // of a cluster
  };
  Result<boost::json::object> certificate(const Pending& pending,
                                          const std::vector<std::string>& keys,
                                          const Accepted& recorded, Dropped dropped) const;
  void tell_outcome(const Pending& pending, const Status& outcome);
  Result<Accepted> record(const Pending& pending);
  Result<Counts> count(const Pending& pending, const std::vector<std::string>& keys) const;
  bool begun(const Pending& pending) const;  // under the lock
  Result<std::vector<std::string>> destroy(const Pending& pending);
  Result<Dropped> drop_here(Progress& progress);
  std::optional<Pending> as_it_stands(const Pending& pending) const;
  // on_cluster.cpp
  void carry_on();
  void carry_out(const Pending& pending, std::int64_t now_ms);
  Status attempt(const Pending& pending);
  Status release(Pending& pending);
  Status destroy_round(Pending& pending);
  Status keep(Pending& pending);
  Result<std::string> owner_to_wait_for(const std::string& due) const;
  Result<Dropped> wait_dropped(const std::string& due) const;
  Result<Dropped> dropped_at_nodes(const std::string& due) const;
  bool given_up() const { return stopping() || !p_.shared->carries_out(); }
  Status renew(const boost::json::object& certificate) const;
  Status sign(boost::json::object& certificate) const;
  bool stopping() const { return stopping_; }

  const Parts p_;
  const Work work_;
  std::unique_ptr<FolderRecords> of_folder_;  // null on a cluster
  Records& records_;
  mutable std::mutex mutex_;                     // of the folder's records, and of what follows
  std::map<std::string, std::string> problems_;  // by erasure
  std::set<std::string> here_;                   // asked for in this life of the process
  std::set<std::string> begun_;                  // of those with two keys: approved, and under way
  std::atomic<bool> stopping_{false};
  std::optional<std::uint64_t> observer_;
  Worker worker_{"soma-erase"};
  std::thread carrier_;  // of a cluster
};

}  // namespace soma::runtime::erasure
