// A node of a cluster drops its caches for every erasure, also for those that it slept through.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
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
  void follow(Work work);
  // Before a partition is served here, before its claim and after it: the keys' topic is read to
  // its end. kUnavailable: snapshots here may hold what is erased, and go in a moment.
  Status may_serve();
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
  Status drop(std::set<std::string> due);
  Status look_after_views();

  privacy::TopicKeys& keys_;
  TopicRecords& records_;
  const std::string data_dir_;
  const Clock& clock_;
  std::string folder_;             // its id
  mutable std::mutex mutex_;       // of the next two
  std::set<std::string> done_;     // what was due, by its name
  std::set<std::string> cleared_;  // snapshots are gone, and it is not yet done
  // Of what was dropped and is not made anew yet: dropped once, however long that takes.
  struct Dropped {
    std::set<std::string> due;
    Remaking remaking;
  };
  std::optional<Dropped> dropped_;
  struct Views {  // that are being made anew; what is due meanwhile has them made once more
    std::set<std::string> due;
    projections::Over over;
  };
  std::optional<Views> views_;
  bool views_due_ = false;
  Work work_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace soma::runtime::erasure
