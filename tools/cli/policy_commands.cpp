// policy: what may be done, why something was not, and the rules of it.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "actors/policy/rules.h"
#include "tools/cli/explain.h"
#include "tools/cli/policy_trials.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string id, file, action = "action", capability = "session:start";
  double risk = 0.1, confidence = 0.9, budget = 0, remaining = -1;
  bool requires_human = false, global = false;
};

int evaluate(const Context& c, const Flags& f) {
  json::object body{{"action_id", f.action},       {"capability", f.capability},
                    {"risk_score", f.risk},        {"confidence", f.confidence},
                    {"budget_required", f.budget}, {"requires_human", f.requires_human}};
  if (f.remaining >= 0) body["budget_remaining"] = f.remaining;
  return c.show(c.call("POST", "/v1/evaluate", body));
}

int show_rules(const Context& c) {
  auto rules = c.call("GET", "/v1/policy/rules");
  if (!rules || !c.table()) return c.show(rules);
  std::cout << text_of(*rules, "rules");
  return 0;
}

int load_rules(const Context& c, const Flags& f) {
  auto text = text_file(f.file);
  if (!text) return c.fail(text.error());
  const std::string scope = f.global ? "?scope=global" : "";
  return c.show(c.call("PUT", "/v1/policy/rules" + scope, json::object{{"rules", *text}}));
}

int validate_rules(const Context& c, const Flags& f) {
  auto text = text_file(f.file);
  if (!text) return c.fail(text.error());
  const auto issues = actors::check_rules(*text);
  if (issues.empty()) return c.show(json::value(json::object{{"valid", true}}));
  for (const auto& i : issues) c.note(f.file + ":" + to_string(i));
  return c.fail({Code::kInvalidArgument,
                 f.file + " holds " + std::to_string(issues.size()) + " mistakes", "rules"});
}

void add_rules_commands(CLI::App& policy, Context& context, const Wrap& run,
                        const std::shared_ptr<Flags>& f) {
  auto* rules = add_group(policy, "rules", "A tenant's own rules, in Cedar");
  add_verb(*rules, context, run, "show", "The rules in force", Effect::kRead,
           "soma policy rules show", [&context] { return show_rules(context); });
  auto* past = add_verb(*rules, context, run, "history", "Versions of the rules, newest first",
                        Effect::kRead, "soma policy rules history", [&context] {
                          return context.list("/v1/policy/rules/history", "items",
                                              {"version", "loaded_at", "loaded_by", "in_force"},
                                              {"hash", "scope"});
                        });
  add_list_options(*past, context);
  auto* load = add_verb(*rules, context, run, "load", "Put rules in force", Effect::kWrite,
                        "soma policy rules load rules.cedar",
                        [&context, f] { return load_rules(context, *f); });
  load->add_option("file", f->file, "Cedar policies; \"-\": stdin")->required()->type_name("FILE");
  load->add_flag("--global", f->global, "Those of all tenants that have none of their own");
  add_verb(*rules, context, run, "validate", "What is wrong with rules; asks no node",
           Effect::kRead, "soma policy rules validate rules.cedar",
           [&context, f] { return validate_rules(context, *f); })
      ->add_option("file", f->file, "Cedar policies; \"-\": stdin")
      ->required()
      ->type_name("FILE");
}

}  // namespace

void add_policy_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* policy = add_group(app, "policy", "What may be done, and why");
  auto* command =
      add_verb(*policy, context, run, "evaluate", "Score an action, and record the decision",
               Effect::kWrite, "soma policy evaluate --risk 0.8 --confidence 0.5",
               [&context, f] { return evaluate(context, *f); });
  command->add_option("--action", f->action, "Name of the action")->type_name("NAME");
  command->add_option("--capability", f->capability, "What it needs")->type_name("AREA:VERB");
  command->add_option("--risk", f->risk, "0 to 1 (default 0.1)")->type_name("NUMBER");
  command->add_option("--confidence", f->confidence, "0 to 1 (default 0.9)")->type_name("NUMBER");
  command->add_option("--budget", f->budget, "Tokens it needs")->type_name("NUMBER");
  command->add_option("--remaining", f->remaining, "Tokens that are left")->type_name("NUMBER");
  command->add_flag("--requires-human", f->requires_human, "A person must agree");
  add_verb(*policy, context, run, "explain",
           "Why something was allowed or denied: inputs, score, rules, constitution, event",
           Effect::kRead, "soma policy explain dec_0123456789abcdef01234567",
           [&context, f] { return explain(context, f->id); })
      ->add_option(
          "decision", f->id,
          "Decision id; a session's, for its last turn; absent: what refuses a session now");
  add_rules_commands(*policy, context, run, f);
  add_policy_trials(*policy, context, run);
}

}  // namespace soma::cli
