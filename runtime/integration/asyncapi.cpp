// Channels, operations, messages and schemas, each from one table.
#include "runtime/integration/asyncapi.h"

#include <boost/json/array.hpp>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "runtime/http/schema.h"
#include "runtime/integration/commands.h"
#include "runtime/integration/dead_letter.h"
#include "runtime/integration/public_events.h"

namespace soma::runtime::integration {

namespace json = boost::json;

namespace {

[[noreturn]] void refuse(std::string_view what, std::string_view name) {
  std::fprintf(stderr, "asyncapi: no %.*s named %.*s\n", static_cast<int>(what.size()), what.data(),
               static_cast<int>(name.size()), name.data());
  std::abort();
}

json::object text(const char* about) { return {{"type", "string"}, {"description", about}}; }

json::object reference(std::string_view kind, std::string_view name) {
  return {{"$ref", "#/" + std::string(kind) + "/" + std::string(name)}};
}

json::object outbound_headers() {
  json::object time = text("When it was decided, RFC 3339 in UTC");
  time["format"] = "date-time";
  return {{"type", "object"},
          {"properties",
           json::object{{"ce_specversion", json::object{{"const", "1.0"}}},
                        {"ce_id", text("The event's id; the same whenever it is published again")},
                        {"ce_type", text("The event's type")},
                        {"ce_source", text("/soma/ and the type of the actor")},
                        {"ce_time", std::move(time)},
                        {"ce_subject", text("The actor, TENANT/TYPE/ID; also the record's key")},
                        {"ce_somatenant", text("The tenant whose event it is")},
                        {"ce_somaposition", text("PARTITION/OFFSET of its frame in the journal")},
                        {"ce_correlationid", text("The same through all that one request led to")},
                        {"traceparent", text("W3C trace context")},
                        {"content-type", json::object{{"const", "application/json"}}}}},
          {"required", json::array{"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time",
                                   "ce_subject", "ce_somatenant", "ce_somaposition"}}};
}

json::object inbound_headers() {
  json::object id = text("Idempotency key: the same id is applied once; visible ASCII");
  id["minLength"] = 1;
  id["maxLength"] = 255;
  return {
      {"type", "object"},
      {"properties",
       json::object{{"ce_specversion", json::object{{"const", "1.0"}}},
                    {"ce_id", std::move(id)},
                    {"ce_type", text("The command")},
                    {"ce_source", text("Who sends it")},
                    {"ce_somatoken", text("A JWT with the capability of the command")},
                    {"ce_somatenant", text("If present, the tenant of the token")},
                    {"traceparent", text("W3C trace context, continued")},
                    {"content-type",
                     json::object{{"enum", json::array{"application/json", "application/protobuf",
                                                       "application/cloudevents+json"}},
                                  {"description",
                                   "protobuf: the command's message of "
                                   "schemas/soma/v1/integration.proto; cloudevents+json: the "
                                   "attributes stand in the value, without ce_"}}}}},
      // A structured event has them in its value.
      {"if", json::object{{"not", json::object{{"required", json::array{"content-type"}}}}}},
      {"then", json::object{{"required", json::array{"ce_id", "ce_type"}}}}};
}

json::object dead_letter_headers() {
  return {{"type", "object"},
          {"properties", json::object{{"ce_id", text("SOURCE_TOPIC/PARTITION/OFFSET")},
                                      {"ce_type", json::object{{"const", "dead_letter"}}}}},
          {"required", json::array{"ce_id", "ce_type"}}};
}

class Document {
 public:
  Document(const actors::Catalog& catalog, const http::Router& router, const std::string& prefix)
      : catalog_(catalog), router_(router), prefix_(prefix) {}

  json::object make() {
    schemas_["CloudEventHeaders"] = outbound_headers();
    schemas_["CommandHeaders"] = inbound_headers();
    schemas_["DeadLetterHeaders"] = dead_letter_headers();
    schemas_["DeadLetter"] = dead_letter_schema();
    for (const auto& topic : public_topics()) channel(topic.name, topic.about);
    for (const auto& topic : inbound_topics()) {
      if (!channels_.contains(topic.name)) channel(topic.name, "Commands of integrators");
      channel(topic.dead_letters, "Records that could not be taken, with the reason");
    }
    for (const auto* type : catalog_.all()) events_of(*type);
    for (const auto& topic : inbound_topics()) {
      for (const auto& row : command_table()) command(topic.name, row);
      dead_letters(topic.dead_letters);
    }
    for (const auto& [topic, actions] : operations_by_topic_) operation(topic, actions);
    return {{"asyncapi", "3.0.0"},
            {"info", json::object{{"title", "SomaStack"},
                                  {"version", "0.1.0"},
                                  {"description", "Topics of a cluster on Kafka"}}},
            {"defaultContentType", "application/json"},
            {"channels", std::move(channels_)},
            {"operations", std::move(operations_)},
            {"components",
             json::object{{"messages", std::move(messages_)}, {"schemas", std::move(schemas_)}}}};
  }

 private:
  struct Actions {
    json::array send, receive;  // references to the channel's messages
  };

  void channel(std::string_view topic, std::string_view about) {
    channels_[topic] = json::object{
        {"address", prefix_ + std::string(topic)},
        {"description", about},
        {"messages", json::object{}},
        {"bindings", json::object{{"kafka", json::object{{"topic", prefix_ + std::string(topic)},
                                                         {"bindingVersion", "0.5.0"}}}}}};
  }

  json::object message(std::string_view name, const char* headers, json::object payload) {
    return {{"name", name},
            {"contentType", "application/json"},
            {"headers", reference("components/schemas", headers)},
            {"payload", std::move(payload)}};
  }

  json::object add(std::string_view topic, const std::string& id, json::object content) {
    auto* channel = channels_.if_contains(topic);
    if (!channel) refuse("topic", topic);
    messages_[id] = std::move(content);
    channel->at("messages").get_object()[id] = reference("components/messages", id);
    return reference("channels/" + std::string(topic) + "/messages", id);
  }

  void events_of(const actors::ActorType& type) {
    std::set<std::string, std::less<>> known;
    for (const auto& kind : event_kinds(type)) {
      known.insert(kind.type);
      const auto* row = public_row(type.name(), kind.type);
      if (!row) continue;
      // Two actors may name an event alike.
      const std::string id = std::string(type.name()) + "." + kind.type;
      operations_by_topic_[std::string(row->topic)].send.push_back(add(
          row->topic, id,
          message(kind.type, "CloudEventHeaders", public_schema(*row, *kind.payload, schemas_))));
    }
    for (const auto& row : public_table())
      if (row.actor == type.name() && row.event != "*" && !known.contains(row.event))
        refuse("event", row.event);
  }

  void command(std::string_view topic, const CommandRow& row) {
    const auto* route = router_.match(row.method, row.path).route;
    if (!route || !route->request) refuse("route with a body", row.path);
    const std::string& name = route->request->name;
    if (!schemas_.contains(name)) schemas_[name] = http::json_schema(*route->request, schemas_);
    json::object content =
        message(row.type, "CommandHeaders", reference("components/schemas", name));
    content["summary"] = row.about;
    content["x-soma-capability"] = route->capability;
    content["x-soma-route"] = std::string(row.method) + " " + std::string(row.path);
    operations_by_topic_[std::string(topic)].receive.push_back(
        add(topic, "command." + std::string(row.type), std::move(content)));
  }

  void dead_letters(std::string_view topic) {
    operations_by_topic_[std::string(topic)].send.push_back(
        add(topic, "dead_letter",
            message("dead_letter", "DeadLetterHeaders",
                    reference("components/schemas", "DeadLetter"))));
  }

  void operation(const std::string& topic, const Actions& actions) {
    const auto one = [&](const char* action, const json::array& messages) {
      if (messages.empty()) return;
      operations_[std::string(action) + "." + topic] = json::object{
          {"action", action}, {"channel", reference("channels", topic)}, {"messages", messages}};
    };
    one("send", actions.send);
    one("receive", actions.receive);
  }

  const actors::Catalog& catalog_;
  const http::Router& router_;
  const std::string& prefix_;
  json::object channels_, operations_, messages_, schemas_;
  std::map<std::string, Actions> operations_by_topic_;
};

}  // namespace

json::object asyncapi(const actors::Catalog& catalog, const http::Router& router,
                      const std::string& topic_prefix) {
  return Document(catalog, router, topic_prefix).make();
}

}  // namespace soma::runtime::integration
