// asyncapi.json: every reference leads somewhere, every public event and command is in it.
#include "runtime/integration/asyncapi.h"

#include <gtest/gtest.h>

#include <boost/json/array.hpp>

#include "runtime/integration/commands.h"
#include "runtime/integration/public_events.h"

namespace soma::runtime::integration {
namespace {

namespace json = boost::json;

void add_routes(http::Router& router) {
  for (const auto& row : command_table())
    router.add({.method = std::string(row.method),
                .pattern = std::string(row.path),
                .capability = "a:b",
                .request = http::make_schema("Body" + std::string(row.type),
                                             {{.name = "prompt", .required = true}})},
               [](auto, auto) {});
}

json::object document() {
  http::Router router;
  add_routes(router);
  return asyncapi(*actors::standard_catalog(), router, "acme.");
}

void check_references(const json::value& v, const json::value& root, std::size_t& seen) {
  if (v.is_array())
    for (const auto& item : v.get_array()) check_references(item, root, seen);
  if (!v.is_object()) return;
  for (const auto& [name, member] : v.get_object()) {
    if (name != "$ref") {
      check_references(member, root, seen);
      continue;
    }
    ++seen;
    std::string path(member.get_string());
    const json::value* at = &root;
    ASSERT_EQ(path.substr(0, 2), "#/");
    path = path.substr(2) + "/";
    for (auto slash = path.find('/'); slash != path.npos && at; slash = path.find('/')) {
      at = at->is_object() ? at->get_object().if_contains(path.substr(0, slash)) : nullptr;
      path = path.substr(slash + 1);
    }
    EXPECT_TRUE(at) << member.get_string();
  }
}

TEST(AsyncApi, EveryReferenceLeadsSomewhere) {
  std::size_t seen = 0;
  const json::value root = document();
  check_references(root, root, seen);
  EXPECT_GT(seen, 100u);
}

TEST(AsyncApi, HoldsEveryPublicEventUnderItsTopic) {
  const auto root = document();
  const auto catalog = actors::standard_catalog();
  for (const auto* type : catalog->all())
    for (const auto& kind : event_kinds(*type)) {
      const std::string id = std::string(type->name()) + "." + kind.type;
      const auto* row = public_row(type->name(), kind.type);
      EXPECT_EQ(root.at("components").at("messages").get_object().contains(id), row != nullptr);
      if (!row) continue;
      const auto& channel = root.at("channels").at(row->topic);
      EXPECT_EQ(channel.at("address").get_string(), "acme." + std::string(row->topic));
      EXPECT_TRUE(channel.at("messages").get_object().contains(id)) << id;
      EXPECT_EQ(root.at("components").at("messages").at(id).at("name").get_string(), kind.type);
    }
}

TEST(AsyncApi, CommandsCarryTheBodyOfTheirRoute) {
  const auto root = document();
  for (const auto& topic : inbound_topics()) {
    const auto& operation = root.at("operations").at("receive." + std::string(topic.name));
    EXPECT_EQ(operation.at("action"), "receive");
    EXPECT_EQ(operation.at("messages").get_array().size(), command_table().size());
    EXPECT_TRUE(root.at("channels").get_object().contains(topic.dead_letters));
  }
  const auto& message = root.at("components").at("messages").at("command.session.start");
  EXPECT_EQ(message.at("payload").at("$ref"), "#/components/schemas/Bodysession.start");
  EXPECT_EQ(message.at("x-soma-route"), "POST /v1/sessions/start");
  EXPECT_EQ(message.at("x-soma-capability"), "a:b");
}

TEST(AsyncApiDeath, ACommandWithoutARouteIsAMistakeOfOurs) {
  http::Router empty;
  EXPECT_DEATH(asyncapi(*actors::standard_catalog(), empty, ""), "no route with a body named");
}

}  // namespace
}  // namespace soma::runtime::integration
