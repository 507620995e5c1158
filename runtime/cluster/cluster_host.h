// The host that routes see on a node of several: each command and read goes to the partition's
// owner.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "runtime/cluster/directory.h"
#include "runtime/cluster/peers.h"
#include "runtime/host/host.h"

namespace soma::runtime {

// What is not owned here is asked of the owner, at most one node at a time, again for a few seconds
// while there is none; then kUnavailable, or kUnknownOutcome where a node may have done it. That is
// safe because a command keeps its id. What is owned here and not answered in time, as the log says
// nothing, ends likewise. The status of partitions is of this node alone.
class ClusterHost final : public Host {
 public:
  static constexpr std::int64_t kPatienceMs = 5000;
  // All outlive it, and close() comes before the local host goes.
  struct Parts {
    PartitionHost* local = nullptr;
    const Directory* directory = nullptr;
    Peers* peers = nullptr;
    const actors::Catalog* catalog = nullptr;
    Clock* clock = nullptr;
    std::string node_id;
    std::uint32_t partitions = 0;
    std::int64_t answer_ms = 11'000;  // of the local host; more than an append may take
  };
  explicit ClusterHost(Parts parts);
  ~ClusterHost() override;

  void close();  // nothing reaches the local host any more; who waits is told kUnavailable

  void submit(Submission submission, OnAccepted done) override;
  void read(ActorKey actor, OnState done) override;
  bool observes_all() const override { return false; }
  std::uint64_t on_frame(OnFrame observer) override;
  void remove_observer(std::uint64_t id) override;
  Result<std::vector<HistoryEvent>> history(const ActorKey& actor, Sequence after,
                                            std::size_t limit) const override;
  Result<std::vector<ActorPlace>> actors(const std::string& tenant, const std::string& type,
                                         const std::optional<ActorPlace>& after,
                                         std::size_t limit) const override;
  std::vector<PartitionStatus> status() const override;
  Result<std::vector<PendingEffect>> pending_effects() const override;
  Result<std::vector<ParkedActor>> parked() const override;
  void redrive(const ActorKey& actor, std::function<void(Status)> done) override;
  Status redrive(const ActorKey& actor) override;
  const HostMetrics& metrics() const override;
  bool drain(std::int64_t timeout_ms) override;

 private:
  struct Core;
  class Errand;
  PartitionId partition_for(const ActorKey& actor) const;
  template <typename T>
  class Word;
  // Asks at once; who calls what it gives waits for the answer.
  template <typename T>
  std::function<Result<T>()> ask(PartitionId partition, v1::ClusterCall call,
                                 std::function<Result<T>(PartitionHost&)> here,
                                 std::function<T(v1::ClusterAnswer&)> there) const;
  template <typename Item>
  Result<std::vector<Item>> of_all(bool parked,
                                   Result<std::vector<Item>> (PartitionHost::*here)(PartitionId)
                                       const,
                                   std::vector<Item> (*there)(const v1::ClusterAnswer&)) const;
  std::shared_ptr<Core> core_;
};

}  // namespace soma::runtime
