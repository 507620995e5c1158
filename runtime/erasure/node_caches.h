// A node of a cluster drops its caches for every erasure, also for those that it slept through.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "runtime/erasure/caches.h"
#include "runtime/erasure/topic_records.h"
#include "runtime/host/ports.h"

namespace soma::runtime::erasure {

// Owns one thread. What was done is marked in the data folder, DATA_DIR/erasures.done, and told to
// all nodes. Thread-safe.
class NodeCaches {
 public:
  // Before any cache of the folder is opened: what other nodes erased while this one was away goes
  // with all snapshots here. Tells the cluster that this folder exists. `keys` and `records`
  // outlive it.
  static Result<std::unique_ptr<NodeCaches>> open(privacy::TopicKeys& keys, TopicRecords& records,
                                                  const std::string& data_dir,
                                                  const std::string& node_id, const Clock& clock);
  ~NodeCaches();
  // From now on caches are dropped as keys are destroyed.
  void follow(Caches caches);
  void ask_stop() { stopping_ = true; }
  void stop();

 private:
  NodeCaches(privacy::TopicKeys& keys, TopicRecords& records, std::string data_dir,
             const Clock& clock)
      : keys_(keys), records_(records), data_dir_(std::move(data_dir)), clock_(clock) {}
  Status load();
  Status save() const;
  Status make_up();
  Status tell();
  void run();
  Status look();
  Status look_after_views(bool dropped);

  privacy::TopicKeys& keys_;
  TopicRecords& records_;
  const std::string data_dir_;
  const Clock& clock_;
  std::string folder_;          // its id
  std::set<std::string> done_;  // erasures
  Caches caches_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace soma::runtime::erasure
