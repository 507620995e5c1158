// user, service: who there is beside the tokens, and what each may do at most.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string id, name, email, description, capabilities, active, ttl = "1h";
};
using FlagsPtr = std::shared_ptr<Flags>;

json::array listed(const std::string& comma_separated) {
  json::array out;
  for (const auto& one : CLI::detail::split(comma_separated, ','))
    if (!one.empty()) out.emplace_back(one);
  return out;
}

// What is there now with what was named changed; what is not there yet begins empty and active.
int put(const Context& c, const std::string& path, const Flags& f, json::object named) {
  auto now = c.call("GET", path);
  if (!now && now.error().code != Code::kNotFound) return c.fail(now.error());
  json::object body{{"capabilities", json::array()}, {"active", true}};
  if (now)
    for (const char* kept : {"name", "email", "description", "capabilities", "active"})
      if (const auto* v = member(*now, kept)) body[kept] = *v;
  for (auto& [name, value] : named)
    if (value.is_string() && !value.get_string().empty()) body[name] = value;
  if (!f.capabilities.empty())
    body["capabilities"] = f.capabilities == "none" ? json::array() : listed(f.capabilities);
  if (!f.active.empty()) body["active"] = f.active == "true";
  // Else what another changed meanwhile, as that somebody may come in no more, would be undone.
  const std::string read = !now ? std::string()
                                : "\"" + cell(now->as_object().if_contains("version")) + "-" +
                                      text_of(*now, "hash") + "\"";
  return c.show(c.call("PUT", path, body, read));
}

void add_put_options(CLI::App& command, const FlagsPtr& f, const char* none) {
  command.add_option("--cap", f->capabilities, none)->type_name("CAPABILITIES");
  command
      .add_option("--active", f->active, "false: its tokens end at once; true: it may come again")
      ->check(CLI::IsMember({"true", "false"}))
      ->type_name("BOOL");
}

void add_user(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* group = add_group(app, "user", "A tenant's users, and what they may do at most");
  auto* list = add_verb(
      *group, context, run, "list", "All users", Effect::kRead, "soma user list", [&context] {
        return context.list("/v1/users", "items", {"user_id", "name", "active", "capabilities"},
                            {"email", "version", "updated_at", "updated_by"});
      });
  add_list_options(*list, context);
  const auto path = [f] { return "/v1/users/" + url_encoded(f->id); };
  auto* show =
      add_verb(*group, context, run, "show", "One user", Effect::kRead, "soma user show ana",
               [&context, path] { return context.show(context.call("GET", path())); });
  auto* set = add_verb(*group, context, run, "set",
                       "Make or change a user; what is not named stays", Effect::kWrite,
                       "soma user set ana --cap session:start,session:read", [&context, f, path] {
                         return put(context, path(), *f, {{"name", f->name}, {"email", f->email}});
                       });
  for (auto* command : {show, set}) command->add_option("user", f->id, "User id")->required();
  set->add_option("--name", f->name, "For people")->type_name("TEXT");
  set->add_option("--email", f->email, "NAME@HOST")->type_name("ADDRESS");
  add_put_options(*set, f,
                  "Comma-separated; tokens are worth no more. none: no list, so what a token says");
}

// Of the service's own capabilities where none are named.
int service_token(const Context& c, const Flags& f) {
  auto seconds = seconds_of(f.ttl);
  if (!seconds) return c.fail(seconds.error());
  json::array capabilities = listed(f.capabilities);
  if (capabilities.empty()) {
    auto service = c.call("GET", "/v1/services/" + url_encoded(f.id));
    if (!service) return c.fail(service.error());
    if (const auto* own = member(*service, "capabilities"); own && own->is_array())
      capabilities = own->get_array();
  }
  if (capabilities.empty())
    return c.fail({Code::kInvalidArgument, "service " + f.id + " may do nothing", "--cap"},
                  "give it capabilities with `soma service set`");
  return c.show(c.call("POST", "/v1/tokens/issue",
                       json::object{{"user_id", "svc:" + f.id},
                                    {"capabilities", std::move(capabilities)},
                                    {"ttl", *seconds}}));
}

void add_service(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* group = add_group(app, "service", "Service principals: programs that act by themselves");
  auto* list = add_verb(
      *group, context, run, "list", "All services", Effect::kRead, "soma service list", [&context] {
        return context.list("/v1/services", "items", {"service_id", "active", "capabilities"},
                            {"description", "version", "updated_at"});
      });
  add_list_options(*list, context);
  const auto path = [f] { return "/v1/services/" + url_encoded(f->id); };
  auto* show =
      add_verb(*group, context, run, "show", "One service", Effect::kRead, "soma service show ci",
               [&context, path] { return context.show(context.call("GET", path())); });
  auto* set =
      add_verb(*group, context, run, "set", "Make or change a service; what is not named stays",
               Effect::kWrite, "soma service set ci --cap slm:infer", [&context, f, path] {
                 return put(context, path(), *f, {{"description", f->description}});
               });
  auto* token = add_verb(*group, context, run, "token", "Issue a token to a service; told once",
                         Effect::kWrite, "soma service token ci --ttl 1d",
                         [&context, f] { return service_token(context, *f); });
  for (auto* command : {show, set, token})
    command->add_option("service", f->id, "Service id, without svc:")->required();
  set->add_option("--description", f->description, "For people")->type_name("TEXT");
  add_put_options(*set, f, "Comma-separated, at most the caller's own; none: nothing");
  token->add_option("--cap", f->capabilities, "Comma-separated; default: all that the service has")
      ->type_name("CAPABILITIES");
  token->add_option("--ttl", f->ttl, "How long it holds, as 90s, 10m, 1h or 2d (default 1h)")
      ->type_name("TIME");
}

}  // namespace

void add_identity_commands(CLI::App& app, Context& context, const Wrap& run) {
  add_user(app, context, run);
  add_service(app, context, run);
}

}  // namespace soma::cli
