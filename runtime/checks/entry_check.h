// A check over the entries of valid frames, in the order of the journal.
#pragma once

#include "actors/actor_type.h"
#include "events/frames.h"
#include "runtime/checks/finding.h"

namespace soma::checks {

// One entry with what its actor was before it.
struct EntryView {
  const events::ValidFrame& frame;
  const v1::Entry& entry;
  const ActorKey& actor;
  const actors::ActorType& type;
  const actors::Message& state;  // before the entry
  bool erased = false;  // personal data is gone from the entry, or from what made the state
};

// Entries of one partition come in order; partitions may interleave as they were written.
class EntryCheck {
 public:
  virtual ~EntryCheck() = default;
  virtual void entry(const EntryView& view, Findings& findings) = 0;
  virtual void frame(const events::ValidFrame&, Findings&) {}  // after its entries
};

}  // namespace soma::checks
