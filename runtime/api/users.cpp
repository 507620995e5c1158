// A tenant's users: who is active, and what their tokens may hold at most.
#include "runtime/api/principals.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

json::object view(const v1::User& u) {
  return {{"user_id", u.user_id()},
          {"name", u.name()},
          {"email", u.email()},
          {"capabilities", views::strings(u.capabilities())},
          {"active", u.active()},
          {"version", u.version()},
          {"hash", u.hash()},
          {"updated_at", views::iso_time(u.updated_ms())},
          {"updated_by", u.updated_by()}};
}

http::Response shown(const v1::User& u) { return with_tag(u, view(u)); }

void with_user(const Node& node, const RequestPtr& r, const Responder& responder,
               std::function<http::Response(const v1::User&)> answer) {
  with_identity(node, r, responder,
                [r, responder, answer = std::move(answer)](const v1::IdentityState& s) {
                  const auto it = s.users().find(r->param("id"));
                  if (it == s.users().end())
                    return responder.fail({Code::kNotFound, "User not found", {}});
                  responder.send(answer(it->second));
                });
}

void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  with_identity(node, r, responder, [r, responder](const v1::IdentityState& s) {
    responder.send(page_by_id(s.users(), *r, view));
  });
}

void put(const Node& node, const RequestPtr& r, const Responder& responder,
         const std::string& path_id) {
  const auto& body = r->json.get_object();
  std::string id = text_member(r->json, "user_id");
  if (id.empty()) id = path_id;
  if (id.empty())
    return responder.send(http::field_error({"body", "user_id"}, "is required", "missing"));
  if (!path_id.empty() && id != path_id)
    return responder.send(
        http::field_error({"body", "user_id"}, "must be the user of the path", "mismatch"));
  v1::IdentityCommand command;
  auto* user = command.mutable_put_user()->mutable_user();
  user->set_user_id(id);
  user->set_name(text_member(r->json, "name"));
  user->set_email(text_member(r->json, "email"));
  const auto* active = body.if_contains("active");
  user->set_active(!active || !active->is_bool() || active->get_bool());
  if (const auto* list = body.if_contains("capabilities"); list && list->is_array())
    for (std::size_t i = 0; i < list->get_array().size(); ++i) {
      std::string capability(list->get_array()[i].get_string());
      if (!security::is_valid_capability(capability))
        return responder.send(http::field_error({"body", "capabilities", std::to_string(i)},
                                                "must be area:verb, area:* or *", "invalid"));
      user->add_capabilities(std::move(capability));
    }
  for (auto& tag : if_match_tags(*r)) command.mutable_put_user()->add_expected_tags(std::move(tag));
  submit(node, r, responder,
         make_submission(*r, actors::identity_key(r->tenant()), command, command_id_of(*r)),
         [](const Accepted& a) {
           v1::IdentityReply reply;
           reply.ParseFromString(a.reply);
           return shown(reply.user());
         });
}

}  // namespace

void register_users(http::Router& router, const Node& node) {
  const auto body = http::make_schema("User", {{.name = "user_id", .max_length = 256},
                                               {.name = "name", .max_length = 256},
                                               {.name = "email", .max_length = 256},
                                               {.name = "capabilities",
                                                .type = FieldType::kArray,
                                                .max_length = 256,
                                                .items = FieldType::kString},
                                               {.name = "active", .type = FieldType::kBool}});
  const auto add = [&](const char* method, const char* path, const char* summary,
                       http::Handler handler) {
    const bool write = std::string_view(method) == "PUT";
    http::Route route{.method = method,
                      .pattern = path,
                      .capability = write ? "user:write" : "user:read",
                      .summary = summary,
                      .tag = "identity",
                      .idempotent_write = write};
    if (write) route.request = body;
    if (std::string_view(path) == "/v1/users" && !write)
      route.query = {limit_field(), {.name = "cursor", .max_length = 256}};
    router.add(std::move(route), std::move(handler));
  };
  add("GET", "/v1/users", "The tenant's users",
      [&node](auto r, auto responder) { list(node, r, responder); });
  add("PUT", "/v1/users", "Make or change the user of the body",
      [&node](auto r, auto responder) { put(node, r, responder, ""); });
  add("GET", "/v1/users/{id}", "One user",
      [&node](auto r, auto responder) { with_user(node, r, responder, shown); });
  add("PUT", "/v1/users/{id}", "Make or change a user; `active: false` ends its tokens",
      [&node](auto r, auto responder) { put(node, r, responder, r->param("id")); });
  add("GET", "/v1/users/{id}/capabilities", "What a user's tokens may hold at most",
      [&node](auto r, auto responder) {
        with_user(node, r, responder, [](const v1::User& u) {
          return http::json_response(
              200, json::object{{"user_id", u.user_id()},
                                {"capabilities", views::strings(u.capabilities())},
                                {"active", u.active()}});
        });
      });
}

}  // namespace soma::runtime::api
