// A host that has nothing to show; tests add what they ask for.
#pragma once

#include <cstdlib>
#include <vector>

#include "runtime/host/host.h"

namespace soma::runtime {

class BareHost : public Host {
 public:
  void submit(Submission, OnAccepted) override { std::abort(); }
  void read(ActorKey, OnState done) override { done(fail(Code::kUnavailable, "no actors")); }
  std::uint64_t on_frame(OnFrame) override { return 0; }
  void remove_observer(std::uint64_t) override {}
  Result<std::vector<HistoryEvent>> history(const ActorKey&, Sequence, std::size_t) const override {
    return std::vector<HistoryEvent>{};
  }
  std::vector<PartitionStatus> status() const override { return {}; }
  Result<std::vector<PendingEffect>> pending_effects() const override {
    return std::vector<PendingEffect>{};
  }
  Result<std::vector<ActorPlace>> actors(const std::string&, const std::string&,
                                         const std::optional<ActorPlace>&,
                                         std::size_t) const override {
    return std::vector<ActorPlace>{};
  }
  Result<std::vector<ParkedActor>> parked() const override { return std::vector<ParkedActor>{}; }
  void redrive(const ActorKey&, std::function<void(Status)>) override { std::abort(); }
  Status redrive(const ActorKey&) override { return {}; }
  const HostMetrics& metrics() const override { std::abort(); }
  bool drain(std::int64_t) override { return true; }
};

}  // namespace soma::runtime
