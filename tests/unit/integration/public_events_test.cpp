// The table of public events: complete, consistent, and blind to other tenants.
#include "runtime/integration/public_events.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <set>

#include "schemas/json/json_schema.h"
#include "soma/v1/constitution.pb.h"
#include "soma/v1/gateway.pb.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/session.pb.h"
#include "soma/v1/tenant.pb.h"

namespace soma::runtime::integration {
namespace {

namespace json = boost::json;
namespace pb = google::protobuf;

struct Recorded {
  std::string tenant, type, event, payload, caller = "demo";
};

events::ValidFrame frame_of(const std::vector<Recorded>& all) {
  auto frame = std::make_shared<v1::Frame>();
  for (const auto& r : all) {
    auto* entry = frame->add_entries();
    entry->mutable_actor()->set_tenant(r.tenant);
    entry->mutable_actor()->set_type(r.type);
    entry->mutable_actor()->set_id("x");
    entry->mutable_context()->mutable_principal()->set_tenant(r.caller);
    auto* event = entry->add_events();
    event->set_type(r.event);
    event->set_payload(r.payload);
  }
  return {{PartitionId{3}, Offset{17}}, std::move(frame), ""};
}

std::vector<std::string> topics_of(const std::vector<Recorded>& all) {
  std::vector<std::string> out;
  for_each_public(frame_of(all), [&](const PublicEvent& e) {
    out.push_back(std::string(e.tenant) + ":" + std::string(e.row->topic));
    return true;
  });
  return out;
}

// Whoever adds an actor type or event decides here whether integrators see it.
TEST(PublicEvents, TheTableSpeaksOfEveryEventOfEveryActor) {
  const auto catalog = actors::standard_catalog();
  for (const auto* type : catalog->all())
    for (const auto& kind : event_kinds(*type)) {
      bool spoken_of = false;
      for (const auto& row : public_table())
        spoken_of |= row.actor == type->name() && (row.event == "*" || row.event == kind.type);
      EXPECT_TRUE(spoken_of) << type->name() << " " << kind.type;
    }
}

TEST(PublicEvents, TheTopicsAreThoseOfTheTable) {
  std::set<std::string_view> named, described;
  for (const auto& row : public_table())
    if (!row.topic.empty()) named.insert(row.topic);
  for (const auto& topic : public_topics()) EXPECT_TRUE(described.insert(topic.name).second);
  EXPECT_EQ(named, described);
}

TEST(PublicEvents, AnEventGoesWhereTheFirstRowSays) {
  EXPECT_EQ(topics_of({{"demo", "session", "policy.decided", ""},
                       {"demo", "session", "turn.completed", ""},
                       {"demo", "tenant", "settings.changed", ""},
                       {"demo", "tenant", "budget.settled", ""},
                       {"demo", "constitution", "constitution.proposed", ""},
                       {"demo", "idempotency", "key.claimed", ""},
                       {"demo", "unheard_of", "it.happened", ""}}),
            (std::vector<std::string>{"demo:policy.decisions", "demo:conversation.events",
                                      "demo:settings.changed", "demo:billing.events"}));
}

TEST(PublicEvents, WhatNoTenantOwnsIsTheCallers) {
  const std::string kind = "gateway.kill_switch.changed";
  EXPECT_EQ(topics_of({{"$system", "gateway", kind, "", "acme"}}),
            std::vector<std::string>{"acme:identity.audit"});
  EXPECT_TRUE(topics_of({{"$system", "gateway", kind, "", ""}}).empty());
  EXPECT_TRUE(topics_of({{"$system", "gateway", kind, "", "$system"}}).empty());
  EXPECT_EQ(topics_of({{"demo", "memory", "memory.forgotten", "", "other"}}),
            std::vector<std::string>{"demo:memory.events"});
}

TEST(PublicEvents, ASettingsChangeTellsTenantVersionAndHash) {
  v1::TenantEvent event;
  event.mutable_settings_changed()->mutable_settings()->set_version(7);
  event.mutable_settings_changed()->mutable_settings()->set_hash("abc");
  const auto catalog = actors::standard_catalog();
  const auto frame = frame_of({{"acme", "tenant", "settings.changed", event.SerializeAsString()}});
  json::object data;
  for_each_public(frame, [&](const PublicEvent& e) {
    data = public_data(*catalog, e);
    return true;
  });
  EXPECT_EQ(data.at("tenant"), "acme");
  EXPECT_EQ(data.at("version"), 7);
  EXPECT_EQ(data.at("hash"), "abc");
  EXPECT_EQ(data.at("settings").at("version"), 7);
}

// A message with every field set, three levels deep, so that each member of its JSON is there.
void fill(pb::Message& m, int depth) {
  const auto& r = *m.GetReflection();
  for (int i = 0; i < m.GetDescriptor()->field_count(); ++i) {
    const auto& f = *m.GetDescriptor()->field(i);
    if (f.cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (depth == 0 || f.is_map()) continue;
    fill(f.is_repeated() ? *r.AddMessage(&m, &f) : *r.MutableMessage(&m, &f), depth - 1);
  }
}

const json::object& resolved(const json::object& schema, const json::object& components) {
  const auto* ref = schema.if_contains("$ref");
  if (!ref) return schema;
  const std::string name(ref->get_string());
  return components.at(name.substr(std::string("#/components/schemas/").size())).get_object();
}

bool type_is(const json::value& v, std::string_view name) {
  if (name == "integer") return v.is_int64() || v.is_uint64();
  if (name == "number") return v.is_number();
  if (name == "string") return v.is_string();
  if (name == "boolean") return v.is_bool();
  if (name == "array") return v.is_array();
  if (name == "object") return v.is_object();
  return name == "null" && v.is_null();
}

// As much of JSON Schema as the schemas use; what is wrong, or "". `part`: of an allOf, whose other
// parts describe other members.
std::string against(const json::value& v, const json::object& s, const json::object& components,
                    bool part = false) {
  const auto& schema = resolved(s, components);
  if (const auto* all = schema.if_contains("allOf"))
    for (const auto& one : all->get_array())
      if (auto bad = against(v, one.get_object(), components, true); !bad.empty()) return bad;
  if (const auto* type = schema.if_contains("type")) {
    bool fits = false;
    if (type->is_string()) fits = type_is(v, std::string_view(type->get_string()));
    if (type->is_array())
      for (const auto& t : type->get_array()) fits |= type_is(v, std::string_view(t.get_string()));
    if (!fits) return "type is not " + std::string(schema.at("type").is_string() ? "right" : "any");
  }
  if (v.is_array() && schema.contains("items"))
    for (const auto& item : v.get_array())
      if (auto bad = against(item, schema.at("items").get_object(), components); !bad.empty())
        return "[]." + bad;
  if (!v.is_object() || !schema.contains("properties")) return {};
  const auto& properties = schema.at("properties").get_object();
  for (const auto& [name, member] : v.get_object()) {
    const auto* described = properties.if_contains(name);
    if (!described && !part && !s.contains("allOf") && schema.contains("required") &&
        properties.size() > 3)
      return std::string(name) + " is not described";
    if (described)
      if (auto bad = against(member, described->get_object(), components); !bad.empty())
        return std::string(name) + "." + bad;
  }
  if (const auto* required = schema.if_contains("required"))
    for (const auto& name : required->get_array())
      if (!v.get_object().contains(name.get_string()))
        return std::string(name.get_string()) + " is missing";
  return {};
}

TEST(PublicEvents, TheSchemaDescribesTheDataOfEveryPublicEvent) {
  const auto catalog = actors::standard_catalog();
  std::size_t seen = 0;
  for (const auto* type : catalog->all())
    for (const auto& kind : event_kinds(*type)) {
      const auto* row = public_row(type->name(), kind.type);
      if (!row) continue;
      const auto event = type->new_event();
      const auto& oneof = *event->GetDescriptor()->oneof_decl(0);
      for (int i = 0; i < oneof.field_count(); ++i) {
        event->Clear();
        auto* payload = event->GetReflection()->MutableMessage(event.get(), oneof.field(i));
        if (type->event_type(*event) != kind.type) continue;
        fill(*payload, 3);
        const auto frame =
            frame_of({{"demo", std::string(type->name()), kind.type, event->SerializeAsString()}});
        json::object components;
        const auto schema = public_schema(*row, *kind.payload, components);
        for_each_public(frame, [&](const PublicEvent& e) {
          EXPECT_EQ(against(public_data(*catalog, e), schema, components), "") << kind.type;
          ++seen;
          return true;
        });
      }
    }
  EXPECT_GT(seen, 30u);
}

}  // namespace
}  // namespace soma::runtime::integration
