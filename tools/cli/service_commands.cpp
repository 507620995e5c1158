// memory, slm, tenant: calls of the node's routes.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "schemas/json/json_text.h"
#include "tools/cli/privacy_commands.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string text, id, model, coord, display_name, mode, profile, user;
  std::vector<std::string> tags;
  double temperature = -1, importance = -1;
  int top_k = 10, max_tokens = 0;
  std::int64_t budgets_tokens = -1;
  bool explain = false;
};

int remember(const Context& c, const Flags& f) {
  json::object body{{"text", f.text}};
  if (!f.coord.empty()) body["coord"] = f.coord;
  if (f.importance >= 0) body["importance"] = f.importance;
  if (!f.tags.empty()) body["tags"] = json::value_from(f.tags);
  return c.show(c.call("POST", "/v1/remember", body));
}

int recall(const Context& c, const Flags& f) {
  auto r = c.call("POST", "/v1/recall", json::object{{"query", f.text}, {"top_k", f.top_k}});
  if (!r) return c.fail(r.error());
  json::array items = r->at("results").as_array();
  const json::value degraded = member(*r, "degraded_reason") ? r->at("degraded_reason") : nullptr;
  for (auto& item : items) {  // what people look for, where it is plain
    if (const auto* text = member(item, "payload.text")) item.get_object()["text"] = *text;
    if (f.explain) item.get_object()["degraded_reason"] = degraded;
  }
  if (f.explain && !degraded.is_null())
    c.note("not all retrievers took part: " + text_of(*r, "degraded_reason"));
  if (f.explain)
    c.print_list(items, {"memory_id", "score", "retriever", "degraded_reason", "text"},
                 {"coord", "payload"});
  else
    c.print_list(items, {"memory_id", "text"}, {"score", "retriever", "coord", "payload"});
  return 0;
}

void add_memory(CLI::App& app, Context& context, const Wrap& run, const std::shared_ptr<Flags>& f) {
  auto* memory = add_group(app, "memory", "What is remembered");
  auto* remembers =
      add_verb(*memory, context, run, "remember", "Remember a fact", Effect::kWrite,
               "soma memory remember \"The invoice run is on Fridays.\" --tag billing",
               [&context, f] { return remember(context, *f); });
  remembers->add_option("text", f->text, "The fact")->required();
  remembers->add_option("--coord", f->coord, "Its place: a newer fact there replaces it")
      ->type_name("KEY");
  remembers->add_option("--tag", f->tags, "May be repeated")->type_name("TAG");
  remembers->add_option("--importance", f->importance, "0 to 1")->type_name("NUMBER");
  auto* recalls =
      add_verb(*memory, context, run, "recall", "Find facts by meaning and by words", Effect::kRead,
               "soma memory recall \"when are invoices sent?\" --top-k 3 --explain",
               [&context, f] { return recall(context, *f); });
  recalls->add_option("query", f->text, "What to find")->required();
  recalls->add_option("--top-k", f->top_k, "At most so many (default 10)")
      ->check(CLI::Range(1, 200))
      ->type_name("N");
  recalls->add_flag("--explain", f->explain,
                    "Why each is there: its score, what found it, what could not look");
}

int infer(const Context& c, const Flags& f) {
  json::object body{{"prompt", f.text}};
  if (!f.model.empty()) body["model"] = f.model;
  if (f.max_tokens > 0) body["max_tokens"] = f.max_tokens;
  if (f.temperature >= 0) body["temperature"] = f.temperature;
  return c.show(c.call("POST", "/v1/infer_sync", body));
}

int embed(const Context& c, const Flags& f) {
  auto r = c.call("POST", "/v1/embedding", json::object{{"text", f.text}});
  if (!r || !c.table()) return c.show(r);
  json::object shown = r->as_object();  // 384 numbers tell nobody anything
  if (auto* vector = shown.if_contains("embedding"); vector && vector->is_array()) {
    std::string first;
    for (std::size_t i = 0; i < std::min<std::size_t>(4, vector->get_array().size()); ++i)
      first += (i ? ", " : "") + json_text(vector->get_array()[i]);
    shown["embedding"] = first + ", …";
  }
  c.print(shown);
  return 0;
}

void add_slm(CLI::App& app, Context& context, const Wrap& run, const std::shared_ptr<Flags>& f) {
  auto* slm = add_group(app, "slm", "Models");
  auto* models = add_verb(*slm, context, run, "models", "Models that answer now", Effect::kRead,
                          "soma slm models", [&context] {
                            return context.list("/v1/models", "data", {"id", "owned_by"});
                          });
  add_list_options(*models, context);
  auto* infers = add_verb(*slm, context, run, "infer", "Ask the model and wait", Effect::kWrite,
                          "soma slm infer \"Name a prime number.\" --max-tokens 16",
                          [&context, f] { return infer(context, *f); });
  infers->add_option("prompt", f->text, "What to ask")->required();
  infers->add_option("--model", f->model, "Another than the tenant's")->type_name("MODEL");
  infers->add_option("--max-tokens", f->max_tokens, "At most so many")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  infers->add_option("--temperature", f->temperature, "0 to 2")->type_name("NUMBER");
  add_profile_verbs(*slm, context, run);
  add_verb(*slm, context, run, "embed", "Embed a text", Effect::kWrite,
           "soma slm embed \"a short text\" -o json", [&context, f] { return embed(context, *f); })
      ->add_option("text", f->text, "The text")
      ->required();
}

// Who the caller is decides the tenant, where none is named.
Result<std::string> tenant_of(const Context& c, const Flags& f) {
  if (!f.id.empty()) return f.id;
  auto me = c.call("GET", "/v1/whoami");
  if (!me) return tl::unexpected(me.error());
  return text_of(*me, "tenant_id");
}

int tenant_set(const Context& c, const Flags& f) {
  if (f.display_name.empty() && f.mode.empty() && f.profile.empty() && f.budgets_tokens < 0)
    return c.fail({Code::kInvalidArgument, "nothing to set was named", {}},
                  "give --display-name, --mode, --budget or --model-profile");
  auto tenant = tenant_of(c, f);
  if (!tenant) return c.fail(tenant.error());
  const std::string path = "/v1/tenants/" + url_encoded(*tenant);
  auto now = c.call("GET", path);
  if (!now) return c.fail(now.error());
  json::object body = now->as_object();
  if (!f.display_name.empty()) body["display_name"] = f.display_name;
  if (!f.mode.empty()) body["deployment_mode"] = f.mode;
  if (!f.profile.empty()) body["default_model_profile"] = f.profile;
  if (f.budgets_tokens >= 0) body["budgets_tokens"] = f.budgets_tokens;
  return c.show(c.call("PUT", path, body));
}

void add_tenant(CLI::App& app, Context& context, const Wrap& run, const std::shared_ptr<Flags>& f) {
  auto* tenant = add_group(app, "tenant", "A tenant's settings");
  auto* show =
      add_verb(*tenant, context, run, "show", "Settings in force", Effect::kRead,
               "soma tenant show", [&context, f] {
                 auto id = tenant_of(context, *f);
                 if (!id) return context.fail(id.error());
                 return context.show(context.call("GET", "/v1/tenants/" + url_encoded(*id)));
               });
  auto* set =
      add_verb(*tenant, context, run, "set", "Change some of a tenant's settings", Effect::kWrite,
               "soma tenant set --budget 20000", [&context, f] { return tenant_set(context, *f); });
  auto* list = add_verb(*tenant, context, run, "list", "Tenants that the caller may see",
                        Effect::kRead, "soma tenant list", [&context] {
                          return context.list("/v1/tenants", "items",
                                              {"tenant_id", "display_name", "deployment_mode",
                                               "budgets_tokens", "version"});
                        });
  add_list_options(*list, context);
  auto* usage = add_verb(*tenant, context, run, "usage", "What budgets have counted, what is left",
                         Effect::kRead, "soma tenant usage --user ana", [&context, f] {
                           auto id = tenant_of(context, *f);
                           if (!id) return context.fail(id.error());
                           std::string path = "/v1/tenants/" + url_encoded(*id) + "/usage";
                           if (!f->user.empty()) path += "?user_id=" + url_encoded(f->user);
                           return context.show(context.call("GET", path));
                         });
  usage->add_option("--user", f->user, "Of this user (default: the caller)")->type_name("USER");
  for (auto* command : {show, set, usage})
    command->add_option("tenant", f->id, "The caller's when absent");
  set->add_option("--display-name", f->display_name, "For people")->type_name("TEXT");
  set->add_option("--mode", f->mode, "Deployment mode; can only be stricter than the server's")
      ->type_name("MODE");
  set->add_option("--budget", f->budgets_tokens, "Tokens that may be spent in all")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 53))
      ->type_name("TOKENS");
  set->add_option("--model-profile", f->profile, "Default model profile")->type_name("NAME");
  add_privacy_verbs(*tenant, context, run);
}

}  // namespace

void add_service_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  add_memory(app, context, run, f);
  add_slm(app, context, run, f);
  add_tenant(app, context, run, f);
}

}  // namespace soma::cli
