// Cases are judged here, by the same code as in a node; only what is in force is asked for there.
#include "tools/cli/policy_trials.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cmath>
#include <memory>

#include "actors/policy/judge.h"
#include "runtime/config/yaml_json.h"
#include "runtime/security/constitution_bundle.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string file, old_rules, new_rules, rules, constitution, mode;
};

double number(const json::object& o, const char* name, double fallback) {
  const auto* v = o.if_contains(name);
  return v && v->is_number() ? v->to_number<double>() : fallback;
}

v1::PolicyInput input_of(const json::object& o) {
  v1::PolicyInput in;
  in.set_action_id(text_of(o, "action_id"));
  in.set_capability(text_of(o, "capability"));
  in.set_risk_score(number(o, "risk_score", 0));
  in.set_confidence(number(o, "confidence", 1));
  in.set_budget_required(number(o, "budget_required", 0));
  const auto* has = o.if_contains("has_budget_remaining");  // of a recorded one
  if (const auto* v = o.if_contains("budget_remaining");
      v && v->is_number() && (!has || (has->is_bool() && has->get_bool()))) {
    in.set_budget_remaining(v->to_number<double>());
    in.set_has_budget_remaining(true);
  }
  if (const auto* v = o.if_contains("requires_human"); v && v->is_bool())
    in.set_requires_human(v->get_bool());
  in.set_tool_category(text_of(o, "tool_category"));
  in.set_deployment_mode(text_of(o, "deployment_mode"));
  return in;
}

// What all cases are judged by.
struct Ground {
  v1::ConstitutionInForce constitution;
  v1::PolicySettings weights;
  v1::RulesInForce rules;
  std::string tenant = "demo";

  // `who`: {user?, capabilities?, session?, model?} beside the input.
  Result<v1::PolicyDecision> judge(const v1::PolicyInput& input, const std::string& mode,
                                   const json::object& who) const {
    v1::Principal principal;
    principal.set_tenant(tenant);
    principal.set_subject(text_of(who, "user").empty() ? "developer" : text_of(who, "user"));
    if (const auto* list = who.if_contains("capabilities"); list && list->is_array())
      for (const auto& c : list->get_array())
        if (c.is_string()) principal.add_capabilities(std::string(c.get_string()));
    return actors::judge(input, mode, "dec_test", constitution, weights, rules,
                         {tenant, &principal, text_of(who, "session"), text_of(who, "model")});
  }
};

Result<v1::RulesInForce> rules_from(const std::string& text, const std::string& name) {
  if (const auto issues = actors::check_rules(text); !issues.empty())
    return soma::fail(Code::kInvalidArgument, name + ": " + to_string(issues.front()), "rules");
  v1::RulesInForce rules;
  rules.set_text(text);
  rules.set_hash(sha256_hex(text));
  return rules;
}

Result<v1::RulesInForce> rules_file(const std::string& path) {
  auto text = text_file(path);
  if (!text) return tl::unexpected(text.error());
  return rules_from(*text, path);
}

Result<v1::ConstitutionInForce> constitution_from(const json::value& document) {
  auto rules = runtime::security::rules_of(json::serialize(document));
  if (!rules) return tl::unexpected(rules.error());
  v1::ConstitutionInForce out;
  out.set_version("test");
  out.set_hash("test");
  *out.mutable_rules() = std::move(*rules);
  return out;
}

Result<json::value> document_file(const std::string& path) {
  auto text = text_file(path);
  if (!text) return tl::unexpected(text.error());
  auto document = read_json(*text);
  if (!document)
    return soma::fail(Code::kMalformed, path + " is " + document.error().message, path);
  const auto* inner =
      document->is_object() ? document->get_object().if_contains("document") : nullptr;
  if (inner) return json::value(*inner);
  return document;
}

// The tenant's weights, as its settings have them.
Status weights_in_force(const Context& c, Ground& ground) {
  auto tenants = c.call("GET", "/v1/tenants");
  if (!tenants) return tl::unexpected(tenants.error());
  const auto* items = member(*tenants, "items");
  if (!items || !items->is_array() || items->get_array().empty()) return {};
  const auto& own = items->get_array().front();
  ground.tenant = text_of(own, "tenant_id");
  const auto* p = member(own, "policy");
  if (!p || !p->is_object()) return {};
  const auto& o = p->get_object();
  ground.weights.set_confidence_weight(number(o, "confidence_weight", 0.4));
  ground.weights.set_risk_weight(number(o, "risk_weight", 0.4));
  ground.weights.set_cost_weight(number(o, "cost_weight", 0.2));
  ground.weights.set_human_penalty(number(o, "human_penalty", 0.15));
  ground.weights.set_threshold(number(o, "threshold", 0.7));
  ground.weights.set_production_threshold(number(o, "production_threshold", 0.8));
  return {};
}

// What is not given is what is in force at the node; with --rules or `rules` nothing is asked
// there, a constitution that is not given limits nothing, and the weights are the contract's.
Result<Ground> ground_of(const Context& c, const json::object& file, const Flags& f) {
  Ground ground;
  const auto* own_rules = file.if_contains("rules");
  const auto* own_constitution = file.if_contains("constitution");
  const bool has_rules = !f.rules.empty() || (own_rules && own_rules->is_string());
  const bool has_constitution = !f.constitution.empty() || own_constitution;
  json::value document(json::object{{"rules", json::object{}}});
  if (!f.constitution.empty()) {
    auto read = document_file(f.constitution);
    if (!read) return tl::unexpected(read.error());
    document = std::move(*read);
  } else if (own_constitution) {
    document = *own_constitution;
  } else if (!has_rules) {
    auto in_force = c.call("GET", "/v1/constitution");
    if (!in_force) return tl::unexpected(in_force.error());
    document = in_force->at("document");
  }
  auto constitution = constitution_from(document);
  if (!constitution) return tl::unexpected(constitution.error());
  ground.constitution = std::move(*constitution);
  Result<v1::RulesInForce> rules;
  if (!f.rules.empty()) {
    rules = rules_file(f.rules);
  } else if (has_rules) {
    rules = rules_from(std::string(own_rules->get_string()), "rules");
  } else if (!has_constitution || c.node_is_there()) {
    auto in_force = c.call("GET", "/v1/policy/rules");
    if (!in_force) return tl::unexpected(in_force.error());
    rules = rules_from(text_of(*in_force, "rules"), "the rules in force");
    if (auto ok = weights_in_force(c, ground); !ok) return tl::unexpected(ok.error());
  }
  if (!rules) return tl::unexpected(rules.error());
  ground.rules = std::move(*rules);
  return ground;
}

// What is wrong with the decision; "" when it is as expected.
std::string difference(const json::object& expect, const v1::PolicyDecision& d) {
  if (const auto* v = expect.if_contains("allow"); v && v->is_bool() && v->get_bool() != d.allow())
    return std::string("allow is ") + (d.allow() ? "true" : "false");
  if (const auto* v = expect.if_contains("needs_approval");
      v && v->is_bool() && v->get_bool() != d.needs_approval())
    return std::string("needs_approval is ") + (d.needs_approval() ? "true" : "false");
  if (const auto* v = expect.if_contains("score");
      v && v->is_number() && std::abs(v->to_number<double>() - d.score()) > 5e-5)
    return "score is " + std::to_string(d.score());
  const auto* codes = expect.if_contains("reason_codes");
  if (!codes || !codes->is_array()) return {};
  for (const auto& code : codes->get_array()) {
    bool there = false;
    for (const auto& c : d.reason_codes()) there |= code.is_string() && code.get_string() == c;
    if (!there) return "the reason code " + json::serialize(code) + " is missing";
  }
  return {};
}

Result<json::object> cases_of(const std::string& path) {
  auto text = text_file(path);
  if (!text) return tl::unexpected(text.error());
  auto file = runtime::json_of_yaml(*text);  // and so of JSON
  if (!file) return soma::fail(Code::kMalformed, path + ": " + file.error().message, path);
  const auto* cases = member(*file, "cases");
  if (!cases || !cases->is_array())
    return soma::fail(Code::kMalformed, path + " is no mapping with a list `cases`", path);
  for (const auto& one : cases->get_array()) {
    const auto* input = member(one, "input");
    if (!input || !input->is_object())
      return soma::fail(Code::kMalformed, "every case has an object input", path);
  }
  return std::move(file->get_object());
}

std::string name_of(const json::value& one, std::size_t number) {
  const std::string name = text_of(one, "name");
  return name.empty() ? "case " + std::to_string(number) : name;
}

// --mode, else the case's own, else the file's.
std::string mode_of(const json::object& file, const json::value& one, const Flags& f) {
  if (!f.mode.empty()) return f.mode;
  if (const std::string own = text_of(one, "mode"); !own.empty()) return own;
  const std::string mode = text_of(file, "mode");
  return mode.empty() ? "production" : mode;
}

int test(const Context& c, const Flags& f) {
  auto file = cases_of(f.file);
  if (!file)
    return c.fail(
        file.error(),
        R"(one looks like {"cases":[{"input":{"risk_score":0.9},"expect":{"allow":false}}]})");
  auto ground = ground_of(c, *file, f);
  if (!ground) return c.fail(ground.error());
  json::array rows;
  std::size_t failed = 0;
  for (const auto& one : file->at("cases").get_array()) {
    const auto* expect = member(one, "expect");
    if (!expect || !expect->is_object())
      return c.fail({Code::kMalformed, "every case has an object input and an object expect", {}});
    const auto& input = member(one, "input")->get_object();
    auto d = ground->judge(input_of(input), mode_of(*file, one, f), input);
    const std::string wrong = d ? difference(expect->get_object(), *d) : d.error().message;
    failed += wrong.empty() ? 0 : 1;
    rows.push_back(json::object{{"case", name_of(one, rows.size() + 1)},
                                {"result", wrong.empty() ? "pass" : "fail"},
                                {"difference", wrong}});
  }
  c.print_list(rows, {"case", "result", "difference"});
  if (failed == 0) return 0;
  return c.fail({Code::kInternal,
                 std::to_string(failed) + " of " + std::to_string(rows.size()) +
                     " cases do not come out as expected",
                 {}},
                "mend the rules, the constitution or the cases");
}

std::string outcome(const v1::PolicyDecision& d) {
  std::string out = d.allow() ? "allow" : d.needs_approval() ? "review" : "deny";
  for (const auto& code : d.reason_codes()) out += " " + code;
  return out;
}

// In whose name it was judged, as judge() of Ground reads it.
void take_asker(const json::value& decision, json::object& input) {
  const auto* asker = member(decision, "asker");
  if (!asker || !asker->is_object()) return;
  input["user"] = text_of(*asker, "subject");
  input["session"] = text_of(*asker, "session");
  input["model"] = text_of(*asker, "model");
  if (const auto* list = member(*asker, "capabilities")) input["capabilities"] = *list;
}

// Decisions that the node recorded, as cases: the newest pages that --limit asks for. Each is
// judged in its own principal's name and mode.
Result<json::array> recorded_cases(const Context& c) {
  json::array out;
  for (const char* type : {"policy.evaluated", "policy.decided"}) {
    std::string cursor;
    do {
      auto page = c.call("GET", std::string("/v1/audit/events?limit=200&type=") + type +
                                    (cursor.empty() ? "" : "&cursor=" + url_encoded(cursor)));
      if (!page) return tl::unexpected(page.error());
      for (const auto& event : page->at("items").get_array()) {
        const auto* data = member(event, "data");
        const auto* decision = data ? member(*data, "decision") : nullptr;
        const auto* input = decision ? member(*decision, "input") : nullptr;
        if (!input || !input->is_object()) continue;
        json::object asked = input->get_object();
        take_asker(*decision, asked);
        json::object one{{"name", text_of(*decision, "decision_id")}, {"input", std::move(asked)}};
        if (const std::string mode = text_of(*decision, "mode"); !mode.empty()) one["mode"] = mode;
        out.push_back(std::move(one));
        if (out.size() >= static_cast<std::size_t>(c.limit)) return out;
      }
      cursor = text_of(*page, "next_cursor");
    } while (!cursor.empty());
  }
  return out;
}

// Under no limits but the rules', so that only what they change is seen.
int diff(const Context& c, const Flags& f) {
  Ground before, after;
  for (auto [path, ground] : {std::pair{&f.old_rules, &before}, {&f.new_rules, &after}}) {
    auto rules = rules_file(*path);
    if (!rules) return c.fail(rules.error());
    ground->rules = std::move(*rules);
    ground->constitution.set_hash("test");
  }
  json::object file;
  if (!f.file.empty()) {
    auto given = cases_of(f.file);
    if (!given) return c.fail(given.error());
    file = std::move(*given);
  } else {
    auto recorded = recorded_cases(c);
    if (!recorded) return c.fail(recorded.error());
    file["cases"] = std::move(*recorded);
  }
  json::array rows;
  std::size_t number = 0;
  for (const auto& one : file.at("cases").get_array()) {
    const auto& input = member(one, "input")->get_object();
    auto was = before.judge(input_of(input), mode_of(file, one, f), input);
    auto is = after.judge(input_of(input), mode_of(file, one, f), input);
    ++number;
    if (!was || !is) return c.fail(was ? is.error() : was.error());
    if (outcome(*was) == outcome(*is)) continue;
    rows.push_back(json::object{
        {"case", name_of(one, number)}, {"old", outcome(*was)}, {"new", outcome(*is)}});
  }
  c.print_list(rows, {"case", "old", "new"});
  c.note(std::to_string(rows.size()) + " of " + std::to_string(number) +
         " are decided differently");
  return 0;
}

}  // namespace

void add_policy_trials(CLI::App& policy, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* tests =
      add_verb(policy, context, run, "test", "Judge cases as the node would, and record nothing",
               Effect::kRead, "soma policy test cases.json --rules rules.cedar",
               [&context, f] { return test(context, *f); });
  tests
      ->add_option("file", f->file,
                   "YAML or JSON: {mode?, constitution?, rules?, cases:[{name?, input, expect}]}")
      ->required()
      ->type_name("FILE");
  tests
      ->add_option("--rules", f->rules,
                   "Rules to judge by, without a node; absent: the file's, else those in force")
      ->type_name("FILE");
  tests
      ->add_option("--constitution", f->constitution,
                   "Document or bundle to judge by; absent: the file's, else the one in force")
      ->type_name("FILE");
  auto* differ = add_verb(policy, context, run, "diff", "What other rules would decide differently",
                          Effect::kRead, "soma policy diff old.cedar new.cedar",
                          [&context, f] { return diff(context, *f); });
  differ->add_option("old", f->old_rules, "Rules")->required()->type_name("FILE");
  differ->add_option("new", f->new_rules, "Rules")->required()->type_name("FILE");
  differ->add_option("--cases", f->file, "Cases; absent: decisions that the node recorded")
      ->type_name("FILE");
  differ->add_option("--limit", context.limit, "Recorded decisions at most (default 50)")
      ->type_name("N");
  for (auto* command : {tests, differ})
    command->add_option("--mode", f->mode, "Deployment mode (default: the file's, else production)")
        ->type_name("MODE");
}

}  // namespace soma::cli
