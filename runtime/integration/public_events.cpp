// The table of public events, and what is made of each.
#include "runtime/integration/public_events.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "events/entry_owner.h"
#include "schemas/json/json_schema.h"
#include "schemas/json/json_view.h"

namespace soma::runtime::integration {

namespace json = boost::json;
namespace pb = google::protobuf;

const std::vector<PublicRow>& public_table() {
  static const std::vector<PublicRow> table = {
      {"session", "policy.decided", "policy.decisions", ""},
      {"session", "*", "conversation.events", ""},
      {"decision", "policy.evaluated", "policy.decisions", ""},
      {"approvals", "notification.raised", "notifications.events", ""},
      {"approvals", "*", "policy.decisions", ""},  // the second key of a decision
      {"rules", "*", "policy.decisions", ""},
      {"constitution", "constitution.updated", "constitution.updated", "constitution"},
      {"constitution", "*", "", ""},  // proposals: their approvals are told
      {"tenant", "settings.changed", "settings.changed", "settings"},
      {"tenant", "settings.proposed", "", ""},  // its approval is told
      {"tenant", "settings.withdrawn", "", ""},
      {"tenant", "*", "billing.events", ""},
      {"memory", "*", "memory.events", ""},
      {"inference", "policy.decided", "policy.decisions", ""},
      {"inference", "inference.started", "slm.requests", ""},
      {"model", "call.queued", "slm.requests", ""},
      {"inference", "model.fallback.used", "model.fallback.used", ""},
      {"inference", "*", "slm.responses", ""},
      {"model", "model.fallback.used", "model.fallback.used", ""},
      {"model", "*", "slm.metrics", ""},
      {"gateway", "mode.changed", "mode.changed", ""},
      {"gateway", "training.started", "training.audit", ""},
      {"gateway", "training.stopped", "training.audit", ""},
      {"gateway", "*", "identity.audit", ""},
      {"identity", "*", "identity.audit", ""},
      {"erasure", "*", "identity.audit", ""},
      {"preferences", "model.profile.updated", "model.profile.updated", ""},
      {"preferences", "*", "settings.changed", ""},
      {"idempotency", "*", "", ""},  // bookkeeping of requests
      {"counter", "*", "", ""},      // of benchmarks
  };
  return table;
}

const std::vector<PublicTopic>& public_topics() {
  static const std::vector<PublicTopic> topics = {
      {"constitution.updated", "A constitution is in force from here on"},
      {"settings.changed", "A tenant's settings have a new version"},
      {"policy.decisions", "What policy and people decided, with reasons"},
      {"mode.changed", "The server's deployment mode changed"},
      {"training.audit", "Training locks taken and given back"},
      {"model.profile.updated", "Which models a tenant uses for what"},
      {"model.fallback.used", "A model of a profile answered after the one before it did not"},
      {"identity.audit",
       "Users, tokens and keys; what operators switched; erasures and their second keys"},
      {"conversation.events", "Sessions, turn by turn"},
      {"slm.requests", "Calls that models were asked for; takes requests of others"},
      {"slm.responses", "What became of calls outside sessions"},
      {"slm.metrics", "Model pools: starts, answers, failures"},
      {"notifications.events", "What people should look at, as an approval that waits"},
      {"memory.events", "Facts remembered and forgotten"},
      {"billing.events", "Budgets reserved, settled, released, refused"},
  };
  return topics;
}

const PublicRow* public_row(std::string_view actor, std::string_view event) {
  for (const auto& row : public_table())
    if (row.actor == actor && (row.event == "*" || row.event == event))
      return row.topic.empty() ? nullptr : &row;
  return nullptr;
}

void for_each_public(const events::ValidFrame& frame,
                     const std::function<bool(const PublicEvent&)>& take) {
  for (const auto& entry : frame.frame->entries()) {
    const std::string& tenant = events::tenant_of(entry);
    if (tenant.empty() || tenant.starts_with('$')) continue;
    for (const auto& event : entry.events()) {
      const auto* row = public_row(entry.actor().type(), event.type());
      if (row && !take({row, tenant, &entry, &event, frame.position})) return;
    }
  }
}

json::object public_data(const actors::Catalog& catalog, const PublicEvent& e) {
  const auto* type = catalog.find(e.entry->actor().type());
  if (!type) return {};
  const auto event = type->new_event();
  if (!event->ParseFromString(e.event->payload())) return {};
  json::object data = event_data(*event);
  if (e.row->lifted.empty()) return data;
  data["tenant"] = e.tenant;
  const auto* found = data.if_contains(e.row->lifted);
  if (!found || !found->is_object()) return data;
  const json::object from = found->get_object();  // a copy: what is added to `data` moves it
  for (const char* name : {"version", "hash"})
    if (const auto* v = from.if_contains(name)) data[name] = *v;
  return data;
}

json::object public_schema(const PublicRow& row, const pb::Descriptor& payload,
                           json::object& components) {
  json::object reference = json_schema_of(payload, components);
  if (row.lifted.empty()) return reference;
  const auto* lifted = payload.FindFieldByName(std::string(row.lifted));
  if (!lifted || !lifted->message_type()) std::abort();  // the table names no such member
  const std::string& from = lifted->message_type()->full_name();
  json::object properties{{"tenant", json::object{{"type", "string"}}}};
  for (const char* name : {"version", "hash"})
    properties[name] = components.at(from).at("properties").at(name);
  return {{"allOf",
           json::array{std::move(reference), json::object{{"type", "object"},
                                                          {"properties", std::move(properties)},
                                                          {"required", json::array{"tenant"}}}}}};
}

std::vector<EventKind> event_kinds(const actors::ActorType& type) {
  std::vector<EventKind> out;
  const auto event = type.new_event();
  const auto& d = *event->GetDescriptor();
  const auto& r = *event->GetReflection();
  for (int i = 0; i < d.oneof_decl_count(); ++i)
    for (int k = 0; k < d.oneof_decl(i)->field_count(); ++k) {
      const auto* f = d.oneof_decl(i)->field(k);
      if (f->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) continue;
      event->Clear();
      r.MutableMessage(event.get(), f);
      out.push_back({type.event_type(*event), f->message_type()});
    }
  return out;
}

}  // namespace soma::runtime::integration
