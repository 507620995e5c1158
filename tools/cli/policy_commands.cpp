// policy: what may be done, why something was not, and tests of rules before they are in force.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cmath>
#include <iostream>

#include "actors/policy/judge.h"
#include "runtime/security/constitution_bundle.h"
#include "tools/cli/explain.h"
#include "tools/cli/verbs.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string id, file, action = "action", capability = "session:start", constitution, mode;
  double risk = 0.1, confidence = 0.9, budget = 0, remaining = -1;
  bool requires_human = false;
};

int evaluate(const Context& c, const Flags& f) {
  json::object body{{"action_id", f.action},       {"capability", f.capability},
                    {"risk_score", f.risk},        {"confidence", f.confidence},
                    {"budget_required", f.budget}, {"requires_human", f.requires_human}};
  if (f.remaining >= 0) body["budget_remaining"] = f.remaining;
  return c.show(c.call("POST", "/v1/evaluate", body));
}

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
  if (const auto* v = o.if_contains("budget_remaining"); v && v->is_number()) {
    in.set_budget_remaining(v->to_number<double>());
    in.set_has_budget_remaining(true);
  }
  if (const auto* v = o.if_contains("requires_human"); v && v->is_bool())
    in.set_requires_human(v->get_bool());
  in.set_tool_category(text_of(o, "tool_category"));
  in.set_deployment_mode(text_of(o, "deployment_mode"));
  return in;
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

// The rules of the file's own constitution, of the one that is named, or of the one in force.
Result<v1::ConstitutionInForce> rules_of(const Context& c, const json::object& file,
                                         const std::string& path) {
  json::value document;
  if (!path.empty()) {
    auto text = text_file(path);
    if (!text) return tl::unexpected(text.error());
    boost::system::error_code bad;
    document = json::parse(*text, bad);
    if (bad) return soma::fail(Code::kMalformed, path + " is no JSON", path);
    if (const auto* inner = member(document, "document")) document = json::value(*inner);
  } else if (const auto* own = file.if_contains("constitution")) {
    document = *own;
  } else {
    auto in_force = c.call("GET", "/v1/constitution");
    if (!in_force) return tl::unexpected(in_force.error());
    document = in_force->at("document");
  }
  auto rules = runtime::security::rules_of(json::serialize(document));
  if (!rules) return tl::unexpected(rules.error());
  v1::ConstitutionInForce out;
  out.set_version("test");
  out.set_hash("test");
  *out.mutable_rules() = std::move(*rules);
  return out;
}

int test(const Context& c, const Flags& f) {
  auto text = text_file(f.file);
  if (!text) return c.fail(text.error());
  boost::system::error_code bad;
  const json::value file = json::parse(*text, bad);
  const auto* cases = bad ? nullptr : member(file, "cases");
  if (!cases || !cases->is_array())
    return c.fail(
        {Code::kMalformed, f.file + " is no JSON object with a list `cases`", {}},
        R"(one looks like {"cases":[{"input":{"risk_score":0.9},"expect":{"allow":false}}]})");
  auto constitution = rules_of(c, file.get_object(), f.constitution);
  if (!constitution) return c.fail(constitution.error());
  std::string mode = f.mode.empty() ? text_of(file, "mode") : f.mode;
  if (mode.empty()) mode = "production";
  json::array rows;
  std::size_t failed = 0;
  for (const auto& one : cases->get_array()) {
    const auto* input = member(one, "input");
    const auto* expect = member(one, "expect");
    if (!input || !input->is_object() || !expect || !expect->is_object())
      return c.fail({Code::kMalformed, "every case has an object input and an object expect", {}});
    auto d = actors::judge(input_of(input->get_object()), mode, "dec_test", *constitution);
    const std::string wrong = d ? difference(expect->get_object(), *d) : d.error().message;
    failed += wrong.empty() ? 0 : 1;
    const std::string name = text_of(one, "name");
    rows.push_back(
        json::object{{"case", name.empty() ? "case " + std::to_string(rows.size() + 1) : name},
                     {"result", wrong.empty() ? "pass" : "fail"},
                     {"difference", wrong}});
  }
  c.print_list(rows, {"case", "result", "difference"});
  if (failed == 0) return 0;
  return c.fail({Code::kInternal,
                 std::to_string(failed) + " of " + std::to_string(rows.size()) +
                     " cases do not come out as expected",
                 {}},
                "mend the constitution or the cases");
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
  auto* tests =
      add_verb(*policy, context, run, "test", "Judge cases as the node would, and record nothing",
               Effect::kRead, "soma policy test cases.json --constitution document.json",
               [&context, f] { return test(context, *f); });
  tests->add_option("file", f->file, "JSON: {mode?, constitution?, cases:[{name?, input, expect}]}")
      ->required()
      ->type_name("FILE");
  tests
      ->add_option("--constitution", f->constitution,
                   "Document or bundle to judge by; absent: the file's, else the one in force")
      ->type_name("FILE");
  tests->add_option("--mode", f->mode, "Deployment mode (default: the file's, else production)")
      ->type_name("MODE");
}

}  // namespace soma::cli
