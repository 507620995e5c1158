// What integrators see of the journal: the one table that says which event is public, where, and in
// what shape. Topics, GET /v1/audit/events and /asyncapi.json are made from it.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/actor_type.h"
#include "events/frames.h"

namespace soma::runtime::integration {

// One row. The first that matches an event decides.
struct PublicRow {
  std::string_view actor;   // type of actor
  std::string_view event;   // "settings.changed"; "*": all others of that actor
  std::string_view topic;   // without prefix; empty: not public
  std::string_view lifted;  // a member of the data whose `version` and `hash` stand beside it, with
                            // the `tenant`; empty: none
};
const std::vector<PublicRow>& public_table();

struct PublicTopic {
  std::string_view name;  // without prefix
  std::string_view about;
};
const std::vector<PublicTopic>& public_topics();  // those that the table names, each once

// The row of an event; null: nothing speaks of it, or it is not public.
const PublicRow* public_row(std::string_view actor, std::string_view event);

// An event of a valid frame that outsiders may see. Points into the frame.
struct PublicEvent {
  const PublicRow* row = nullptr;
  std::string_view tenant;  // whose it is: the actor's, or for what is of no tenant the caller's
  const v1::Entry* entry = nullptr;
  const v1::RecordedEvent* event = nullptr;
  Position position;
};

// In the order of the journal; `take` says whether to go on.
void for_each_public(const events::ValidFrame& frame,
                     const std::function<bool(const PublicEvent&)>& take);

// The event's facts as JSON; the value of its record.
boost::json::object public_data(const actors::Catalog& catalog, const PublicEvent& event);

// JSON Schema of public_data, for asyncapi.json. `payload`: the case of the Event message.
boost::json::object public_schema(const PublicRow& row, const google::protobuf::Descriptor& payload,
                                  boost::json::object& components);

// Every event an actor type can record, with the message that holds its facts.
struct EventKind {
  std::string type;
  const google::protobuf::Descriptor* payload = nullptr;
};
std::vector<EventKind> event_kinds(const actors::ActorType& type);

}  // namespace soma::runtime::integration
