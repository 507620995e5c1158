// Chains of upcasters.
#include "events/upcast.h"

namespace soma::events {

namespace {
std::string name(const EventVersion& v) { return v.type + " schema " + std::to_string(v.schema); }
}  // namespace

Status Upcasters::add(EventVersion from, EventVersion to, Upcast upcast) {
  if (steps_.contains(from)) return fail(Code::kConflict, name(from) + " has an upcaster already");
  for (const EventVersion* v = &to;;) {
    if (*v == from)
      return fail(Code::kInvalidArgument, "upcasters from " + name(from) + " run in a circle");
    auto next = steps_.find(*v);
    if (next == steps_.end()) break;
    v = &next->second.to;
  }
  steps_.emplace(std::move(from), Step{std::move(to), std::move(upcast)});
  return {};
}

Status Upcasters::apply(v1::RecordedEvent& event) const {
  auto step = steps_.find({event.type(), event.schema()});
  if (step == steps_.end()) return {};
  if (!event.key_id().empty())
    return fail(Code::kInvalidArgument,
                "event " + event.event_id() + " is encrypted; decrypt before upcasting");
  // Kept aside until every step went through: an event is old or new, never between.
  std::string payload = event.payload();
  EventVersion version{event.type(), event.schema()};
  for (; step != steps_.end(); step = steps_.find(version)) {
    auto newer = step->second.upcast(payload);
    if (!newer)
      return fail(Code::kCorrupt, "event " + event.event_id() + ": cannot read " + name(version) +
                                      ": " + newer.error().message);
    payload = std::move(*newer);
    version = step->second.to;
  }
  event.set_type(version.type);
  event.set_schema(version.schema);
  event.set_payload(std::move(payload));
  return {};
}

}  // namespace soma::events
