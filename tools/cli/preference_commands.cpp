// settings notifications, slm profiles: what a tenant prefers.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "runtime/config/yaml_json.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string file, user, profile;
};

Result<std::string> own(const Context& c, const char* what, const char* query,
                        const std::string& value) {
  auto me = c.call("GET", "/v1/whoami");
  if (!me) return tl::unexpected(me.error());
  return "/v1/tenants/" + url_encoded(text_of(*me, "tenant_id")) + "/" + what +
         (value.empty() ? "" : std::string("?") + query + "=" + url_encoded(value));
}

int show(const Context& c, const Result<std::string>& path) {
  return path ? c.show(c.call("GET", *path)) : c.fail(path.error());
}

int put(const Context& c, const Result<std::string>& path, const std::string& file) {
  if (!path) return c.fail(path.error());
  auto text = text_file(file);
  if (!text) return c.fail(text.error());
  auto body = runtime::json_of_yaml(*text);  // and so of JSON
  if (!body || !body->is_object())
    return c.fail({Code::kMalformed, file + " is no mapping in YAML or JSON", file});
  return c.show(c.call("PUT", *path, *body));
}

void on_file(CLI::App* command, const std::shared_ptr<Flags>& f, const char* what) {
  command->add_option("file", f->file, what)->required()->type_name("FILE");
}

}  // namespace

void add_notification_verbs(CLI::App& settings, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* group = add_group(settings, "notifications", "How people want to be told of things");
  const auto path = [&context, f] {
    return own(context, "notification-preferences", "user_id", f->user);
  };
  auto* shows = add_verb(*group, context, run, "show", "Channels and quiet hours", Effect::kRead,
                         "soma settings notifications show --user ana",
                         [&context, path] { return show(context, path()); });
  auto* sets = add_verb(*group, context, run, "set", "Replace them", Effect::kWrite,
                        "soma settings notifications set mine.yaml --user ana",
                        [&context, f, path] { return put(context, path(), f->file); });
  on_file(sets, f, "YAML or JSON: {quiet_hours?, channels}; \"-\": stdin");
  for (auto* command : {shows, sets})
    command->add_option("--user", f->user, "Of this user (default: the tenant's own)")
        ->type_name("USER");
}

void add_profile_verbs(CLI::App& slm, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* group = add_group(slm, "profiles", "Which model takes which role");
  const auto path = [&context, f] { return own(context, "model-profiles", "name", f->profile); };
  auto* shows =
      add_verb(*group, context, run, "show", "A profile's models by role", Effect::kRead,
               "soma slm profiles show", [&context, path] { return show(context, path()); });
  auto* sets = add_verb(*group, context, run, "set", "Replace a profile", Effect::kWrite,
                        "soma slm profiles set profile.yaml",
                        [&context, f, path] { return put(context, path(), f->file); });
  on_file(sets, f, "YAML or JSON: {chat?, planning?, code?, embedding?, …}; \"-\": stdin");
  for (auto* command : {shows, sets})
    command->add_option("--name", f->profile, "Its name (default: default)")->type_name("NAME");
}

}  // namespace soma::cli
