// kill-switch, training: what one operator holds for all.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

void add_kill_switch(CLI::App& app, Context& context, const Wrap& run) {
  auto reason = std::make_shared<std::string>();
  auto* group = add_group(app, "kill-switch", "Whether new sessions are refused, for all tenants");
  add_verb(*group, context, run, "show", "On or off, since when and why", Effect::kRead,
           "soma kill-switch show",
           [&context] { return context.show(context.call("GET", "/v1/admin/kill-switch")); });
  for (const bool on : {true, false})
    add_verb(
        *group, context, run, on ? "on" : "off",
        on ? "Refuse new sessions and starts of what was approved, at once"
           : "Take new sessions again",
        on ? Effect::kDestructive : Effect::kWrite,
        on ? "soma kill-switch on --reason 'incident 12' --yes"
           : "soma kill-switch off --reason 'incident 12 is over'",
        [&context, reason, on] {
          return context.show(context.call("POST", "/v1/admin/kill-switch",
                                           json::object{{"enabled", on}, {"reason", *reason}}));
        })
        ->add_option("--reason", *reason, "Recorded with it")
        ->required()
        ->type_name("TEXT");
}

// In the caller's own name: nobody takes or ends a lock for another.
int training(const Context& c, const char* what) {
  auto me = c.call("GET", "/v1/whoami");
  if (!me) return c.fail(me.error());
  const std::string tenant = text_of(*me, "tenant_id");
  if (std::string_view(what) == "show")
    return c.show(c.call("GET", "/v1/training/" + url_encoded(tenant)));
  return c.show(
      c.call("POST", std::string("/v1/training/") + what,
             json::object{{"tenant_id", tenant}, {"requested_by", text_of(*me, "subject")}}));
}

void add_training(CLI::App& app, Context& context, const Wrap& run) {
  auto* group = add_group(app, "training", "The tenant's training lock");
  const auto add = [&](const char* name, const char* summary, Effect effect, const char* example) {
    add_verb(*group, context, run, name, summary, effect, example,
             [&context, name] { return training(context, name); });
  };
  add("show", "Who holds it", Effect::kRead, "soma training show");
  add("start", "Take it; 8 where another holds it", Effect::kWrite, "soma training start");
  add("stop", "Give it back; only who holds it can", Effect::kWrite, "soma training stop");
}

}  // namespace

void add_switch_commands(CLI::App& app, Context& context, const Wrap& run) {
  add_kill_switch(app, context, run);
  add_training(app, context, run);
}

}  // namespace soma::cli
