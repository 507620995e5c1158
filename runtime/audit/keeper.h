// Heads of a running node: follows the journal, signs at intervals and when asked.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "events/audit/merkle.h"
#include "events/frames.h"
#include "runtime/audit/heads.h"
#include "runtime/host/ports.h"
#include "runtime/host/worker.h"

namespace soma::runtime::audit {

// Thread-safe. Memory: a few hundred bytes for each partition of each tenant. The first head after
// a start reads the whole journal, later ones what came since.
class Keeper {
 public:
  using Signed = SignedHead;
  // Asked each time: keys are rotated while the node runs.
  using SigningKey = std::function<Result<security::Key>()>;
  // `interval_ms` 0: only when asked.
  Keeper(const events::Log& log, SigningKey key, std::string data_dir, std::int64_t interval_ms,
         const Clock& clock);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  // A head of the journal as it is now, kept in the folder unless this process
  // has kept one of the same records.
  // kNotFound: the tenant has no records. Blocks while it reads.
  Result<Signed> sign(const std::string& tenant);
  // Reads much, after what was posted before it; ends with the keeper.
  void post(std::function<void()> task) { worker_.post(std::move(task)); }
  // It ends: long readings on its behalf break off.
  bool stopping() const { return stopping_; }
  Result<security::Key> key() const { return key_(); }
  const HeadFile& heads() const { return heads_; }
  // Lines of JSON as in the file: heads that the other nodes of a cluster keep. Blocking.
  using Elsewhere = std::function<std::vector<std::string>(const std::string& tenant)>;
  void also(Elsewhere elsewhere) { elsewhere_ = std::move(elsewhere); }  // before it is asked
  // A tenant's heads, the oldest first: those kept here and, of a cluster, by the nodes that
  // answer.
  std::vector<boost::json::object> all_heads(const std::string& tenant) const;

 private:
  struct TenantTrees {
    std::vector<soma::audit::Frontier> trees;  // by partition
    std::uint64_t signed_records = 0;
    std::uint64_t records() const;
  };
  Status advance();  // under the lock
  // Of the trees as they are; not kept yet. Under the lock.
  Result<Signed> signed_head(const std::string& tenant, const TenantTrees& t,
                             const security::Key& key) const;
  Status keep(std::vector<Signed>& heads);  // but those kept meanwhile; under the lock
  Status sign_all();                        // those that have grown
  void run();

  const events::Log& log_;
  const SigningKey key_;
  const HeadFile heads_;
  const std::int64_t interval_ms_;
  const Clock& clock_;
  Elsewhere elsewhere_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<events::FrameReader>> readers_;
  std::map<std::string, TenantTrees> tenants_;
  std::mutex stop_mutex_;
  std::condition_variable stop_changed_;
  std::atomic<bool> stopping_{false};  // set under stop_mutex_
  std::thread thread_;
  Worker worker_{"soma-audit"};  // ends before what it reads
};

// With the data folder's key, which is made when there is none.
Result<std::unique_ptr<Keeper>> open_keeper(const events::Log& log, const std::string& data_dir,
                                            std::uint64_t interval_s, const Clock& clock);

}  // namespace soma::runtime::audit
