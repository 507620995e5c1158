// A simulated process as one node of a cluster: the code that ties a node to its group and to the
// others, on simulated ones.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "runtime/cluster/cluster_host.h"
#include "runtime/cluster/ownership.h"
#include "runtime/sim/group.h"
#include "runtime/sim/network.h"
#include "runtime/sim/sim_clock.h"
#include "runtime/sim/wire_log.h"

namespace soma::sim {

// Owned by its process, which closes it before its host goes. Follows the journal now and then.
class Member {
 public:
  struct Parts {
    std::shared_ptr<Life> life;
    WireLog* log = nullptr;
    SimClock* clock = nullptr;
    const actors::Catalog* catalog = nullptr;
    Network* network = nullptr;
    Group* group = nullptr;
    bool stands_by = false;  // keeps itself warm for others' partitions, now these, now those
    std::function<void(const events::ValidFrame&)> on_frame;  // all of the journal
  };
  explicit Member(Parts parts);
  ~Member() { close(); }

  runtime::HostParts::Shared shared() { return ownership_.shared(); }
  void serve(runtime::PartitionHost& local);  // joins the group
  runtime::Host& front() { return *front_; }  // passes on what is not here
  void leave() { ownership_.leave(); }
  void close();

 private:
  void follow_later();
  void follow();
  void choose();
  void reconcile_later();
  std::string heir();

  const Parts parts_;
  Rng rng_;
  std::unique_ptr<runtime::Peers> peers_;
  runtime::Ownership ownership_;
  std::vector<events::FrameReader> readers_;  // from where its store ends
  std::vector<events::FrameReader> whole_;    // from the start, as the index of recall is made
  runtime::PartitionHost* local_ = nullptr;
  std::unique_ptr<runtime::ClusterHost> front_;
  std::shared_ptr<Member*> here_ = std::make_shared<Member*>(this);  // for the timeline
};

}  // namespace soma::sim
