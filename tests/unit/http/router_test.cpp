// Matching, and openapi.json from the table.
#include "runtime/http/router.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace soma::runtime::http {
namespace {

Handler nothing() {
  return [](std::shared_ptr<Request>, Responder) {};
}

Route route(const char* method, const char* pattern, const char* capability = "a:b") {
  Route r;
  r.method = method;
  r.pattern = pattern;
  r.capability = capability;
  return r;
}

struct RouterTest : testing::Test {
  Router router;
  RouterTest() {
    router.add(route("GET", "/"), nothing());
    router.add(route("GET", "/v1/sessions"), nothing());
    router.add(route("POST", "/v1/sessions/start"), nothing());
    router.add(route("GET", "/v1/sessions/{id}"), nothing());
    router.add(route("DELETE", "/v1/sessions/{id}"), nothing());
    router.add(route("GET", "/v1/sessions/{id}/events/{event}"), nothing());
  }
};

TEST_F(RouterTest, FindsRoutesAndDecodesParameters) {
  const auto m = router.match("GET", "/v1/sessions/a%2Fb%20c/events/%C3%A9");
  ASSERT_NE(m.route, nullptr);
  EXPECT_EQ(m.params.at("id"), "a/b c");
  EXPECT_EQ(m.params.at("event"), "\xC3\xA9");
  EXPECT_NE(router.match("GET", "/").route, nullptr);
  EXPECT_EQ(router.match("HEAD", "/v1/sessions").route, router.match("GET", "/v1/sessions").route);
}

TEST_F(RouterTest, UnknownPathsAreUnknown) {
  for (const char* path : {"/v1", "/v1/sessions/", "/v1//sessions", "/v1/sessions//events/x", "",
                           "v1/sessions", "/v1/sessions/%zz", "/v1/sessions/%00",
                           "/v1/sessions/%FF", "/v1/sessions/x%0a", "/V1/sessions"})
    EXPECT_FALSE(router.match("GET", path).known_path) << path;
}

TEST_F(RouterTest, WrongMethodTellsWhichAreAllowed) {
  const auto m = router.match("PUT", "/v1/sessions/x");
  EXPECT_EQ(m.route, nullptr);
  EXPECT_TRUE(m.known_path);
  EXPECT_EQ(m.allow, "GET, HEAD, DELETE, OPTIONS");
  EXPECT_EQ(router.match("GET", "/v1/sessions/start").allow, "POST, OPTIONS");
}

TEST_F(RouterTest, RefusesRoutesThatCannotBeMeant) {
  EXPECT_DEATH(router.add(route("GET", "/v1/sessions/{other}"), nothing()), "exists already");
  EXPECT_DEATH(router.add(route("GET", "/x", ""), nothing()), "no capability");
  EXPECT_DEATH(router.add(route("GET", "/x", "admin"), nothing()), "area:verb");
  EXPECT_DEATH(router.add(route("GET", "/{a}/{a}"), nothing()), "twice");
  EXPECT_DEATH(router.add(route("GET", "/x")), "no handler");
}

TEST_F(RouterTest, OpenApiHasEveryRouteWithItsCapability) {
  Route r = route("POST", "/v1/remember", "memory:write");
  r.request = make_schema(
      "Remember", {{.name = "text", .required = true, .max_length = 10},
                   {.name = "importance", .type = FieldType::kNumber, .min = 0.0, .max = 1.0},
                   {.name = "tags", .type = FieldType::kArray, .items = FieldType::kString}});
  r.query = {{.name = "limit", .type = FieldType::kInt, .min = 1.0, .max = 200.0}};
  r.responses = {{.status = 202,
                  .schema = make_schema("Accepted", {{.name = "ok", .type = FieldType::kBool}})}};
  r.idempotent_write = true;
  router.add(r, nothing());
  router.add(route("GET", "/health", "public"), nothing());
  const auto doc = router.openapi({});
  EXPECT_EQ(doc.at("openapi"), "3.1.0");
  std::size_t operations = 0;
  for (const auto& path : doc.at("paths").as_object())
    for (const auto& op : path.value().as_object()) {
      ++operations;
      EXPECT_TRUE(op.value().as_object().contains("x-soma-capability"));
      EXPECT_TRUE(op.value().at("responses").as_object().contains("default"));
    }
  EXPECT_EQ(operations, router.routes().size());
  const auto& post = doc.at("paths").at("/v1/remember").at("post");
  EXPECT_EQ(post.at("x-soma-capability"), "memory:write");
  EXPECT_EQ(post.at("requestBody").at("content").at("application/json").at("schema").at("$ref"),
            "#/components/schemas/Remember");
  const auto& remember = doc.at("components").at("schemas").at("Remember");
  EXPECT_EQ(remember.at("properties").at("importance").at("maximum"), 1);
  EXPECT_EQ(remember.at("required").as_array().size(), 1u);
  EXPECT_TRUE(doc.at("components").at("schemas").as_object().contains("Accepted"));
  EXPECT_TRUE(doc.at("paths").at("/health").at("get").at("security").as_array().empty());
}

}  // namespace
}  // namespace soma::runtime::http
