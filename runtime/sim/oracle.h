// The truth: what the log holds, judged record by record as it lands, and what the world was told.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "events/sim/sim_log.h"
#include "runtime/checks/journal_checks.h"
#include "runtime/checks/record_check.h"
#include "runtime/host/host.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// Follows the log from its first record; outlives every process. Findings stop the run.
class Oracle {
 public:
  using OnFrame = std::function<void(const events::ValidFrame&)>;

  Oracle(Ground& ground, events::SimLog& log, const actors::Catalog& catalog);
  ~Oracle();

  void complain(std::string invariant, Position at, std::string what);
  const checks::Findings& findings() const { return findings_; }

  // I3, I4: what a process tells the world, at the moment it does.
  void replied(const std::string& command_id, const runtime::Accepted& accepted);
  // Linearizability: sequences are the order; a command that was sent after `told` had been shown
  // or answered stands behind it.
  void in_real_time(const std::string& command_id, Sequence told,
                    const runtime::Accepted& accepted);
  void refused(const std::string& process, const ActorKey& actor, const std::string& command_id,
               const Error& error);
  // `acked`: the actor's sequence that clients had been told when the read was sent.
  void showed(const ActorKey& actor, const runtime::StateView& view, Sequence acked);
  void began(const std::string& process, const ActorKey& actor, const actors::Effect& effect);
  // The frames that one process shows to its observers, in order.
  struct Cursor {
    std::map<std::uint32_t, Offset> next;
  };
  void observed(Cursor& cursor, const events::ValidFrame& frame);
  // Everything of the partitions that `process` owns; of others it need not know yet.
  void observed_all(const std::string& process, const Cursor& cursor);

  bool owns(const std::string& process, PartitionId partition) const;
  bool owns(const std::string& process, const ActorKey& actor) const {
    return owns(process, home(actor));
  }
  bool holds(const std::string& command_id) const { return commands_.contains(command_id); }
  // What the actors' states call for and is not done; of `patient` ones what could be by `wall_ms`.
  std::vector<std::string> pending_effects(const std::set<ActorKey>& patient,
                                           std::int64_t wall_ms) const;
  std::int64_t latest_wait_ms() const;  // until the last of them may begin
  const checks::JournalChecks& journal() const { return journal_; }
  void on_frame(OnFrame listener) { listeners_.push_back(std::move(listener)); }
  std::uint64_t frames() const { return frames_; }
  std::uint64_t voided() const { return voided_; }
  std::uint64_t decided() const { return decided_; }  // commands, of clients and of actors
  // I13: bytes that turn in the stored records are found.
  void check_rot(Rng rng);

 private:
  struct Lane {
    events::Fence fence;
    checks::RecordCheck record_check;
    Offset next;
    std::string owner;
    std::map<Offset, bool> valid;  // offset of each valid frame; whether it holds entries
  };
  struct Applied {
    Position position;
    std::string reply;
    Sequence sequence;   // of the actor after it
    bool wrote = false;  // it has events
  };

  void catch_up(PartitionId partition);
  void take(Lane& lane, const events::ValidFrame& frame);
  PartitionId home(const ActorKey& actor) const;

  Ground& ground_;
  events::SimLog& log_;
  std::uint64_t following_ = 0;
  std::vector<Lane> lanes_;
  checks::Findings findings_;
  checks::JournalChecks journal_;
  std::map<std::string, Applied> commands_;                          // of clients
  std::map<ActorKey, std::map<std::uint64_t, std::string>> states_;  // digest by sequence
  std::set<std::string> intents_;                                    // every effect ever called for
  std::vector<OnFrame> listeners_;
  std::uint64_t frames_ = 0, voided_ = 0, decided_ = 0;
};

}  // namespace soma::sim
