// The host's face to gateways and tools: submit commands, read states, hear of valid frames.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "events/frames.h"
#include "runtime/host/executor.h"
#include "runtime/host/metrics.h"
#include "runtime/host/ports.h"
#include "schemas/base/errors.h"
#include "schemas/base/ids.h"
#include "soma/v1/frame.pb.h"
#include "soma/v1/host.pb.h"

namespace soma::runtime {

// One command. `command_id` is "TENANT:KEY" for a client's Idempotency-Key, else unique. Same id
// and same request_hash: the recorded reply again; same id, other hash: kConflict.
struct Submission {
  ActorKey actor;
  std::string command;  // serialized Command message of the actor's type
  std::string command_id;
  std::string request_hash;  // empty: not compared
  v1::Principal principal;
  std::string correlation_id;
  std::string traceparent;
  bool once = false;  // nobody can repeat command_id: nothing is kept to answer a repetition with
};

struct Accepted {
  std::string reply;  // serialized Reply message of the actor's type
  Position position;  // of the frame that holds the command
  Sequence sequence;  // the actor's last sequence after it
  bool replayed = false;
};

struct StateView {
  std::shared_ptr<const actors::Message> state;
  Sequence sequence;  // 0: never written to
  Position position;  // durable and valid up to here
};

struct HostLimits {
  std::size_t queue_per_partition = 65536;
  std::size_t waiting_per_actor = 1024;  // of that queue: one busy actor must not fill it
  std::size_t frame_max_entries = 2048;
  std::size_t frames_in_flight = 2;
  std::size_t active_actors_per_partition = 20000;  // beyond it idle ones are passivated
  std::int64_t idle_actor_ms = 60'000;              // so are those unused for longer
  std::uint64_t checkpoint_every_events = 20000;
  std::int64_t checkpoint_every_ms = 5000;
  std::int64_t dedupe_keep_ms = 25LL * 3600 * 1000;
  std::int64_t still_ms = 10'000;  // one that serves and gets nowhere for so long is not ready
};

// Owned by the node; thread-safe. Callbacks run on a host thread and must not block.
// Fails: kOverloaded (queue full, at once), kParked, kUnavailable (recovering, draining),
// kUnknownOutcome (the frame's fate is not known; a retry with the same id finds out).
class Host {
 public:
  using OnAccepted = std::function<void(Result<Accepted>)>;
  using OnState = std::function<void(Result<StateView>)>;
  using OnFrame = std::function<void(const events::ValidFrame&)>;

  virtual ~Host() = default;
  virtual void submit(Submission submission, OnAccepted done) = 0;
  // State after every acknowledged command (I3): waits until what it shows is durable and valid.
  virtual void read(ActorKey actor, OnState done) = 0;
  // Whether observers see all frames of every actor before anyone is answered: what they remember
  // is then as good as a read.
  virtual bool observes_all() const { return true; }
  // Every frame found valid from now on, in order per partition, before the replies of its
  // commands.
  virtual std::uint64_t on_frame(OnFrame observer) = 0;
  virtual void remove_observer(std::uint64_t id) = 0;
  // An event with where and why it was recorded.
  struct HistoryEvent {
    ActorKey actor;
    v1::RecordedEvent event;
    v1::Context context;  // of the command that led to it
    Position position;
  };
  // An actor's events after sequence `after`, oldest first, at most `limit`. Blocking; off host
  // threads.
  virtual Result<std::vector<HistoryEvent>> history(const ActorKey& actor, Sequence after,
                                                    std::size_t limit) const = 0;

  struct PartitionStatus {
    PartitionId partition;
    Epoch epoch;
    Offset applied;  // last valid offset
    bool serving = false;
    std::size_t active_actors = 0, queued = 0, parked = 0, pending_effects = 0,
                frames_in_flight = 2;
    std::string problem;  // why not serving
  };
  virtual std::vector<PartitionStatus> status() const = 0;

  struct PendingEffect {
    ActorKey actor;
    actors::Effect effect;  // without its request, which can be large
    std::string state;      // pending, running, unknown
    std::int64_t since_ms = 0;
    std::uint64_t request_bytes = 0;
  };
  // Of every partition, a thousand each at most. Blocking; off host threads. kUnavailable: the
  // owner of one does not answer.
  virtual Result<std::vector<PendingEffect>> pending_effects() const = 0;

  struct ActorPlace {
    PartitionId partition;
    ActorKey actor;
  };
  // A tenant's actors that have events (of one type, unless it is empty), by partition and name,
  // from after `after` on. Blocking; off host threads.
  virtual Result<std::vector<ActorPlace>> actors(const std::string& tenant, const std::string& type,
                                                 const std::optional<ActorPlace>& after,
                                                 std::size_t limit) const = 0;

  // An actor that cannot decide, and the commands that wait for it, the oldest first.
  struct ParkedActor {
    ActorKey actor;
    std::string reason;
    struct Command {
      v1::Context context;
      std::string command;
    };
    std::vector<Command> commands;
  };
  virtual Result<std::vector<ParkedActor>> parked() const = 0;  // as pending_effects()

  // A parked actor's commands run again, in order. kNotFound when none are parked.
  virtual void redrive(const ActorKey& actor, std::function<void(Status)> done) = 0;
  virtual Status redrive(const ActorKey& actor) = 0;  // blocking; off host threads
  virtual const HostMetrics& metrics() const = 0;

  // No new commands; what is in flight ends; snapshots written. True when all ended in time.
  virtual bool drain(std::int64_t timeout_ms) = 0;
};

// The host of the partitions that this node owns. One that it does not own answers kFenced to
// everything, before anything has happened. Thread-safe.
class PartitionHost : public Host {
 public:
  virtual bool here(PartitionId partition) const = 0;  // opened, and not given away
  // Claims, recovers, serves; returns at once. With `only_after` it claims only while that is the
  // log's highest epoch; else the partition stays away until it is opened without.
  virtual void open(PartitionId partition, std::optional<Epoch> only_after = {}) = 0;
  // What is under way ends, a checkpoint is written, memory goes; then `closed`, on a host thread.
  virtual void close(PartitionId partition, std::function<void()> closed) = 0;
  // Another node's claim was read: at once without the partition, unless it is ours by a later one.
  virtual void claimed_elsewhere(PartitionId partition, Epoch epoch) = 0;

  // To keep the store warm for partitions of other nodes: a cache of what their owners record, by
  // which open() has little to read. Decides, publishes and starts nothing. These and no others.
  virtual void stand_by_for(const std::set<PartitionId>& partitions) = 0;
  // Where following the log may begin: behind what the store has of the partition, and the claim
  // that stood there. At the log's start where the store has nothing that the log bears out. Before
  // anything is opened.
  struct Known {
    events::Bookmark until;
    v1::Claim claim;  // none at the start
  };
  virtual Known known(PartitionId partition) = 0;
  // Every valid frame of all partitions from there on, in order each. Observers are told
  // of those that another node wrote, before a partition is served here whose checkpoint holds
  // them; a standby that misses one reads it from the log.
  virtual void followed(const events::ValidFrame& frame) = 0;
  struct StandbyStatus {
    PartitionId partition;
    Offset next;           // all before it is in the store, or will be when the partition is opened
    std::string problem;   // why it stands still
    bool lasting = false;  // which waiting will hardly mend
    std::uint64_t generation = 0;  // of the store, as it was when it began
  };
  virtual std::vector<StandbyStatus> standbys() const = 0;
  virtual void look_all() = 0;  // every standby looks at the log and the store again, soon
  // Sends between partitions, from and to those of other nodes; each may come again.
  virtual void receive(PartitionId source, PartitionId target, v1::OutboxItem item) = 0;
  virtual void acknowledged(PartitionId source, PartitionId target, std::uint64_t number) = 0;
  // Of one partition, those after `after`.
  virtual Result<std::vector<ActorPlace>> actors_in(PartitionId partition,
                                                    const std::string& tenant,
                                                    const std::string& type, const ActorKey* after,
                                                    std::size_t limit) const = 0;
  virtual Result<std::vector<PendingEffect>> pending_effects_in(PartitionId partition) const = 0;
  virtual Result<std::vector<ParkedActor>> parked_in(PartitionId partition) const = 0;
};

struct HostParts {
  events::Log* log = nullptr;  // not owned; outlives the host
  const actors::Catalog* catalog = nullptr;
  Clock* clock = nullptr;
  EffectRunner* effects = nullptr;
  StateStore* store = nullptr;
  std::string node_id;
  std::string address;
  HostLimits limits;
  std::size_t threads = 2;
  std::vector<Host::OnFrame> observers;  // from the first frame on
  // For one node of several. Nothing is opened at start but by open(); a partition that another
  // node claims is given away, not claimed back; what is read in memory is shown only after the log
  // was asked whether somebody else has claimed since.
  struct Shared {
    // Before a partition's claim, and after it before it serves: whether what the store here holds
    // may be used. kUnavailable: tried again. On a host thread; blocks for a broker. May be empty.
    std::function<Status()> before_claim;
    // Another node owns the partition now. On a host thread; must not block.
    std::function<void(PartitionId)> on_fenced;
    // For partitions of other nodes; may lose what they are given: it is given again.
    std::function<void(PartitionId source, PartitionId target, v1::OutboxItem item)> relay;
    std::function<void(PartitionId source, PartitionId target, std::uint64_t number)> acknowledge;
  };
  std::optional<Shared> shared;
  // Another process may claim what this one serves, and nothing else keeps them apart: memory is
  // shown as if `shared`.
  bool contested = false;
};

// Opens every partition of the log, unless it is shared: claims, recovers, serves while restoring.
// Returns before they serve.
Result<std::unique_ptr<PartitionHost>> start_host(HostParts parts);

// The same host on other executors, with store writes inline: for the simulator, in one thread.
Result<std::unique_ptr<PartitionHost>> start_host_on(HostParts parts,
                                                     std::unique_ptr<ExecutorFactory> executors);

}  // namespace soma::runtime
