// Which partitions of others this node keeps itself warm for, and how far every standby is.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "events/kafka/group_view.h"
#include "runtime/host/host.h"
#include "soma/v1/cluster.pb.h"

namespace soma::runtime {

// Owned by the cluster; one thread, on which `look`, `join` and `tell` run. Thread-safe. What it
// says and does is a hint: nothing of it decides who owns a partition.
class Standbys {
 public:
  static constexpr std::int64_t kLookMs = 1000, kLookSoonMs = 200;
  static constexpr std::int64_t kKeepMs = 30'000;  // one no longer wanted; groups change their mind
  static constexpr std::int64_t kForgetMs = 10'000;  // what another node said of itself

  struct Parts {
    std::string node_id, address;
    const events::Log* log = nullptr;
    PartitionHost* local = nullptr;
    Clock* clock = nullptr;
    std::size_t wanted = 1;            // for each partition; 0: none
    std::uint64_t acceptable_lag = 0;  // records
    std::function<Result<events::GroupView>()> look;
    std::function<Status()> join;                      // the group; tried again when it fails
    std::function<std::vector<std::string>()> others;  // their addresses
    std::function<void(const std::string& address, v1::ClusterRelay item)> tell;
  };
  explicit Standbys(Parts parts);
  ~Standbys() { stop(); }

  // Joins the group now, unless others are in it and this node is not: then it first follows all
  // partitions, and joins when it is warm, or the only one left.
  Status join();
  void ask_stop();  // returns at once
  bool stopped() const;
  void stop();                                   // waits for what it is doing
  void took(const v1::ClusterStandby& standby);  // what another node tells

  struct Row {
    PartitionId partition;
    std::string node_id;
    std::uint64_t lag = 0;  // records
    bool here = false;      // this node
  };
  std::vector<Row> rows() const;  // of all nodes, as far as known; by partition and node
  bool joined() const;
  // Where the node is that would be given the partition next, if it follows it; else empty.
  std::string heir(PartitionId partition) const;

 private:
  struct Other {
    std::string address;
    std::map<PartitionId, Offset> places;
    std::int64_t heard_ms = 0;
  };
  void run();
  void step();
  bool warm() const;
  void choose(const events::GroupView& group);
  void report();

  const Parts parts_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false, running_ = false, joined_ = false;
  std::map<std::string, Other> others_;
  std::map<PartitionId, std::vector<std::string>> heirs_;  // as the group last looked
  std::map<PartitionId, std::int64_t> chosen_ms_;          // the thread's
  std::thread thread_;
};

}  // namespace soma::runtime
