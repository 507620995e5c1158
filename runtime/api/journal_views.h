// The journal and any actor as JSON, by reflection. Shared by the node's routes and by tools that
// read a folder.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "events/frames.h"
#include "runtime/host/host.h"

namespace soma::runtime::views {

// A place in an actor's history: "7" (sequence), "2026-01-31T10:00:00Z" (time), "3/17" (position);
// empty: now.
struct At {
  std::optional<std::uint64_t> sequence;
  std::optional<std::int64_t> time_ms;
  std::optional<Position> position;
  // Is an event still part of what stood there?
  bool holds(std::uint64_t event_sequence, std::int64_t event_ms, Position event_position) const;
};
Result<At> parse_at(std::string_view text);
std::optional<std::int64_t> parse_iso_time(std::string_view text);  // UTC, Unix milliseconds

// Folds events of one actor, in order.
class Fold {
 public:
  explicit Fold(const actors::ActorType& type) : type_(type), state_(type.new_state()) {}
  // kCorrupt when the event does not parse or its sequence is not the next.
  Status apply(const v1::RecordedEvent& event);
  const actors::Message& state() const { return *state_; }
  Sequence sequence() const { return sequence_; }

 private:
  const actors::ActorType& type_;
  std::unique_ptr<actors::Message> state_;
  Sequence sequence_;
};

// {actor, tenant, type, id}
boost::json::object actor(const ActorKey& key);
// {actor, …, sequence, position, time, state}
boost::json::object actor_state(const ActorKey& key, Sequence sequence, Position position,
                                std::int64_t time_ms, const actors::Message& state);
// A frame with its commands and events decoded; `tenant`: only that tenant's entries.
boost::json::object frame(const actors::Catalog& catalog, const events::ValidFrame& frame,
                          const std::string* tenant);
bool concerns(const events::ValidFrame& frame, const std::string& tenant);
// {command_id, time, principal, command} of a command that waits.
boost::json::object waiting_command(const actors::Catalog& catalog, const ActorKey& actor,
                                    const v1::Context& context, const std::string& command);

}  // namespace soma::runtime::views
