// One active actor: its state in memory, decided upon and evolved one command at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "events/sealer.h"
#include "runtime/host/executor.h"
#include "soma/v1/frame.pb.h"

namespace soma::runtime {

// What one command made of an actor. Exactly one of entry, rejection and thrown.
struct Decided {
  std::unique_ptr<v1::Entry> entry;
  std::vector<actors::OutSend> sends;  // those of `entry`, not yet numbered
  Error rejection;
  std::string thrown;                            // decide threw: what it said
  std::vector<actors::Effect> effects;           // of the state after it; only when it has events
  Sequence sequence;                             // of the actor after it
  bool restored = false;                         // the actor was read back for this command;
  std::vector<actors::Effect> restored_effects;  // what its durable state called for
  std::shared_ptr<const actors::Message> state;  // for reads
};

// Not thread-safe: the partition hands it commands, itself or through its executor, and looks into
// it only while none is with its executor.
class Entity {
 public:
  Entity(ActorKey key, const actors::ActorType& type);

  // Context and command have moved into the entry if there is one; else they are as they were.
  // `sealer` names the data subject in the context; null: nobody does.
  Decided decide(v1::Context& context, std::string& command,
                 const events::Sealer* sealer = nullptr);
  // An event as recorded; kCorrupt when it does not follow the last one or does not parse.
  Status apply(const v1::RecordedEvent& event);
  Status restore(Sequence sequence, const std::string& state);

  const ActorKey& key() const { return key_; }
  const actors::ActorType& type() const { return type_; }
  const actors::Message& state() const { return *state_; }
  Sequence sequence() const { return sequence_; }
  // Made when it is first needed: most actors never need one.
  Executor& executor(ExecutorFactory& factory) {
    if (!executor_) executor_ = factory.make();
    return *executor_;
  }

  // The partition's book-keeping.
  std::uint64_t last_used = 0;  // order of use
  std::int64_t used_ms = 0;     // as of the tick before
  bool asked = false;           // has been given the tail to load from
  std::size_t out = 0;          // commands with its executor
  Sequence saved;               // sequence of the snapshot in the store
  bool loaded = false;
  bool broken = false;  // could not be restored; `problem` says why
  std::string problem;

 private:
  const ActorKey key_;
  const actors::ActorType& type_;
  std::shared_ptr<Executor> executor_;
  std::unique_ptr<actors::Message> state_;
  Sequence sequence_{};
  std::string poison_;  // what decide threw: nothing more is decided before a fresh restore
};

std::string event_id(const ActorKey& actor, Sequence sequence);

}  // namespace soma::runtime
