// I7: sends between partitions are numbered without gap, applied once and in order; and I4: none is
// applied that no valid frame has sent.
#pragma once

#include <deque>
#include <map>

#include "runtime/checks/entry_check.h"

namespace soma::checks {

class DeliveryCheck final : public EntryCheck {
 public:
  // With `live`, frames come as they were written over all partitions, so that a send must be known
  // before it is applied. Without, partitions come one after the other.
  DeliveryCheck(std::uint32_t partition_count, bool live)
      : partition_count_(partition_count), live_(live) {}
  void entry(const EntryView& view, Findings& findings) override;
  void frame(const events::ValidFrame& frame, Findings& findings) override;
  std::uint64_t under_way() const;  // sent and not yet applied

 private:
  struct Sent {
    std::string command_id;
    ActorKey to;
    std::string command;
    bool erased = false;  // so that the command is not what was sent
  };
  struct Link {
    std::uint64_t sent = 0, applied = 0;
    std::map<std::uint64_t, Sent> open;            // sent, not applied
    std::map<std::uint64_t, std::string> unknown;  // applied before its send was read: command id
  };
  void applied(const EntryView& view, Findings& findings);
  void sent(const EntryView& view, const v1::Send& send, Findings& findings);

  const std::uint32_t partition_count_;
  const bool live_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Link> links_;  // source, target
  std::deque<std::pair<std::string, ActorKey>> here_;  // sends to be decided in the same frame
};

}  // namespace soma::checks
