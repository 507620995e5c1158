// Which partitions this node opens and closes.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "events/kafka/membership.h"
#include "runtime/cluster/directory.h"
#include "runtime/cluster/peers.h"
#include "runtime/host/host.h"

namespace soma::runtime {

// The group says what to open, the journal who owns: a partition lost to a higher claim is given
// away at once, and claimed back only when the group still says so after a session's time. Has no
// thread of its own; any may call. Outlives its host.
class Ownership {
 public:
  struct Parts {
    std::string node_id;
    std::uint32_t partitions = 0;
    std::int64_t session_timeout_ms = 6000;
    Peers* peers = nullptr;
    Clock* clock = nullptr;
    // Where the node is that would be given the partition next; empty: not known.
    std::function<std::string(PartitionId)> heir;
  };
  explicit Ownership(Parts parts) : parts_(std::move(parts)) {}

  HostParts::Shared shared();                                // for the host
  void serve(PartitionHost& local) { local_ = &local; }      // before all that follows
  const Directory& directory() const { return directory_; }  // who owns what, as far as it says

  // Of each partition: where following the journal begins. Who owned it there is in the directory.
  std::vector<events::Bookmark> begin();
  // Every valid frame of the journal from there on, in order per partition.
  void took(const events::ValidFrame& frame);
  // What the group says; on its thread.
  void changed(PartitionId partition, events::Membership::Turn turn);
  // What a node that leaves says to its heir.
  void handed_over(const v1::ClusterHandover& handover);
  // Opens what the group gave and is not open: it was fenced, or closed too late to be opened in
  // time. Now and then.
  void reconcile();

  Status joined(std::unique_ptr<events::Membership> membership);  // kCancelled: too late
  Status health();  // kLocked: another process runs under this node's name, and has its place
  void leave();     // gives all away
  bool left();      // the group knows
  void close();     // the group is left to notice; nothing is opened or closed any more

 private:
  void hand_over(PartitionId partition, Epoch epoch);
  void tell(PartitionId partition, v1::ClusterRelay item);

  const Parts parts_;
  Directory directory_;
  PartitionHost* local_ = nullptr;
  std::mutex mutex_;
  std::unique_ptr<events::Membership> membership_;
  std::map<PartitionId, std::int64_t> fenced_ms_;
  bool closed_ = false;
  std::atomic<bool> leaving_{false};
};

}  // namespace soma::runtime
