// Messages as JSON, by reflection.
#include "runtime/verify/whole_step.h"

#include <boost/json/array.hpp>
#include <exception>

#include "schemas/base/sha256.h"
#include "schemas/json/json_view.h"

namespace soma::runtime {

namespace json = boost::json;

namespace {

json::value readable(std::unique_ptr<actors::Message> message, const std::string& bytes) {
  if (message && message->ParseFromString(bytes)) return json_of(*message);
  return json::value("sha256:" + sha256_hex(bytes));
}

json::value decided(const actors::Catalog& catalog, const actors::ActorType& type,
                    const ActorKey& key, const actors::Message& before, const v1::Entry& entry) {
  if (!entry.parked().empty()) return json::value("parked");
  auto command = type.new_command();
  if (!command->ParseFromString(entry.command())) return json::value("unreadable");
  try {
    auto made = type.decide(key, before, *command, entry.context());
    if (!made) {
      json::object why{{"code", std::string(code_name(made.error().code))},
                       {"message", made.error().message}};
      return json::object{{"refused", std::move(why)}};
    }
    json::array events, sends;
    for (const auto& e : made->events)
      events.push_back({{"type", type.event_type(*e)}, {"data", event_data(*e)}});
    for (const auto& s : made->sends) {
      const auto* to = catalog.find(s.to.type);
      sends.push_back({{"to", to_string(s.to)},
                       {"command", readable(to ? to->new_command() : nullptr, s.command)}});
    }
    return json::object{{"events", std::move(events)},
                        {"sends", std::move(sends)},
                        {"reply", readable(type.new_reply(), made->reply)}};
  } catch (const std::exception& e) {
    return json::object{{"throws", e.what()}};
  }
}

}  // namespace

json::object whole_step(const actors::Catalog& catalog, const actors::ActorType& type,
                        const ActorKey& key, const actors::Message& before,
                        const v1::Entry& entry) {
  json::object out{{"decision", decided(catalog, type, key, before, entry)}};
  auto state = type.new_state();
  state->CopyFrom(before);
  try {
    for (const auto& e : entry.events()) {
      auto event = type.new_event();
      if (event->ParseFromString(e.payload())) type.evolve(*state, *event);
    }
    out["state"] = json_of(*state);
    json::array effects;
    for (const auto& e : type.effects(key, *state))
      effects.push_back({{"effect_id", e.effect_id},
                         {"kind", e.kind},
                         {"class", static_cast<int>(e.effect_class)},
                         {"attempt", e.attempt},
                         {"not_before_ms", e.not_before_ms},
                         {"deadline_ms", e.deadline_ms},
                         {"request", "sha256:" + sha256_hex(e.request)}});
    out["effects"] = std::move(effects);
  } catch (const std::exception& e) {
    out["state"] = json::object{{"throws", e.what()}};
  }
  return out;
}

}  // namespace soma::runtime
