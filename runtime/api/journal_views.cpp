// Frames, actors and places in time.
#include "runtime/api/journal_views.h"

#include <boost/json/array.hpp>
#include <charconv>
#include <ctime>

#include "runtime/api/views.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_view.h"

namespace soma::runtime::views {

namespace json = boost::json;

namespace {

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t n = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), n);
  return r.ec == std::errc{} && r.ptr == text.data() + text.size() ? std::optional(n)
                                                                   : std::nullopt;
}

json::value decoded(std::unique_ptr<actors::Message> message, const std::string& bytes) {
  if (message && message->ParseFromString(bytes)) return json_of(*message);
  return json::object{{"undecodable_hex", hex(bytes)}};
}

json::object entry(const actors::Catalog& catalog, const v1::Entry& e, Position position) {
  const ActorKey key = actors::to_key(e.actor());
  const auto* type = catalog.find(key.type);
  json::array events;
  for (const auto& recorded : e.events())
    events.push_back(views::event(catalog, {key, recorded, e.context(), position}));
  json::array sends;
  for (const auto& send : e.sends()) {
    const ActorKey to = actors::to_key(send.to());
    const auto* target = catalog.find(to.type);
    sends.push_back(
        {{"number", send.number()},
         {"to", to_string(to)},
         {"command_id", send.command_id()},
         {"command", decoded(target ? target->new_command() : nullptr, send.command())}});
  }
  json::object out{{"actor", to_string(key)},
                   {"command_id", e.context().command_id()},
                   {"time", iso_time(e.context().now_ms())},
                   {"principal", e.context().principal().subject()},
                   {"causation_id", e.context().causation_id()},
                   {"correlation_id", e.context().correlation_id()},
                   {"command", decoded(type ? type->new_command() : nullptr, e.command())},
                   {"events", std::move(events)},
                   {"sends", std::move(sends)}};
  if (!e.reply().empty()) out["reply"] = decoded(type ? type->new_reply() : nullptr, e.reply());
  if (!e.rejected().empty()) out["rejected"] = e.rejected();
  if (!e.parked().empty()) out["parked"] = e.parked();
  return out;
}

}  // namespace

bool At::holds(std::uint64_t event_sequence, std::int64_t event_ms, Position event_position) const {
  if (sequence && event_sequence > *sequence) return false;
  if (time_ms && event_ms > *time_ms) return false;
  return !position || (event_position.partition == position->partition &&
                       event_position.offset <= position->offset);
}

std::optional<std::int64_t> parse_iso_time(std::string_view text) {
  std::tm tm{};
  const std::string copy(text);
  const char* rest = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &tm);
  std::int64_t ms = 0;
  if (!rest) {
    rest = ::strptime(copy.c_str(), "%Y-%m-%d", &tm);
    if (!rest) return {};
  } else if (*rest == '.') {
    std::int64_t scale = 100;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) ms += (*rest - '0') * scale;
  }
  if (*rest == 'Z') ++rest;
  if (*rest != '\0') return {};
  return static_cast<std::int64_t>(::timegm(&tm)) * 1000 + ms;
}

Result<At> parse_at(std::string_view text) {
  At at;
  if (text.empty()) return at;
  if ((at.sequence = number(text))) return at;
  if ((at.position = parse_position(text))) return at;
  if ((at.time_ms = parse_iso_time(text))) return at;
  return fail(
      Code::kInvalidArgument,
      "at must be a sequence as 7, a UTC time as 2026-01-31T10:00:00Z, or a position as 3/17",
      "at");
}

Status Fold::apply(const v1::RecordedEvent& event) {
  if (event.sequence() != sequence_.value + 1)
    return fail(Code::kCorrupt, "event " + std::to_string(event.sequence()) + " follows " +
                                    std::to_string(sequence_.value));
  auto parsed = type_.new_event();
  if (!parsed->ParseFromString(event.payload()))
    return fail(Code::kCorrupt, "event " + std::to_string(event.sequence()) + " does not parse");
  type_.evolve(*state_, *parsed);
  sequence_ = sequence_.next();
  return {};
}

json::object actor(const ActorKey& key) {
  return {{"actor", to_string(key)}, {"tenant", key.tenant}, {"type", key.type}, {"id", key.id}};
}

json::object actor_state(const ActorKey& key, Sequence sequence, Position position,
                         std::int64_t time_ms, const actors::Message& state) {
  json::object out = actor(key);
  out["sequence"] = sequence.value;
  out["position"] = to_string(position);
  out["time"] = iso_time(time_ms);
  out["state"] = json_of(state);
  return out;
}

bool concerns(const events::ValidFrame& frame, const std::string& tenant) {
  for (const auto& touch : frame.frame->touched())
    if (touch.actor().tenant() == tenant) return true;
  return false;
}

json::object frame(const actors::Catalog& catalog, const events::ValidFrame& f,
                   const std::string* tenant) {
  json::array entries;
  std::size_t events = 0;
  for (const auto& e : f.frame->entries())
    if (!tenant || e.actor().tenant() == *tenant) {
      entries.push_back(entry(catalog, e, f.position));
      events += static_cast<std::size_t>(e.events_size());
    }
  json::object out{{"position", to_string(f.position)},
                   {"time", iso_time(f.frame->time_ms())},
                   {"epoch", f.frame->epoch()},
                   {"number", f.frame->number()},
                   {"commands", entries.size()},
                   {"events", events},
                   {"hash", hex(f.hash)},
                   {"previous_hash", hex(f.frame->previous_hash())},
                   {"entries", std::move(entries)}};
  if (f.frame->has_claim()) out["claim"] = json_of(f.frame->claim());
  return out;
}

json::object waiting_command(const actors::Catalog& catalog, const ActorKey& actor,
                             const v1::Context& context, const std::string& command) {
  const auto* type = catalog.find(actor.type);
  return {{"command_id", context.command_id()},
          {"time", iso_time(context.now_ms())},
          {"principal", context.principal().subject()},
          {"command", decoded(type ? type->new_command() : nullptr, command)}};
}

}  // namespace soma::runtime::views
