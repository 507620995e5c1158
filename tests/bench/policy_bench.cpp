// G6: how long one policy decision takes at 1,000 rules, from the whole set to the judgement.
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "actors/policy/judge.h"

namespace soma {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kRules = 1000, kActions = 100;
constexpr double kBarUs = 50;

// As tenants write them: most rules name their action; `everywhere` of them do not.
std::string rules(int everywhere) {
  std::string out;
  for (int i = 0; i < kRules; ++i) {
    const std::string scope =
        i < everywhere ? "action"
                       : "action == Action::\"tool-" + std::to_string(i % kActions) + "\"";
    const std::string n = std::to_string(i);
    out += "@id(\"rule-" + n + "\")\n@reason(\"house rule " + n + "\")\nforbid(principal, " +
           scope + ", resource)\nwhen { context.risk_score.greaterThan(decimal(\"0." +
           std::to_string(9000 + i % 900) + "\")) && context.mode == \"production\" }\n" +
           "unless { principal.capabilities.contains(\"exempt:" + n + "\") };\n";
  }
  return out;
}

struct Measured {
  double p50_us, p99_us, mean_us;
};

Measured measure(const std::string& text, int count) {
  v1::Principal who;
  who.set_subject("ana");
  for (const char* c : {"tool:use", "session:start", "memory:read", "exempt:7"})
    who.add_capabilities(c);
  v1::ConstitutionInForce constitution;
  constitution.set_hash("c");
  constitution.mutable_rules()->set_maximum_risk(0.99);
  std::vector<double> us;
  for (int i = -kActions; i < count; ++i) {  // the first round compiles
    v1::PolicyInput in;
    in.set_action_id("tool-" + std::to_string((i + kActions) % kActions));
    in.set_capability("tool:use");
    in.set_risk_score(0.0001 * (i & 0xfff));
    in.set_confidence(0.95);
    in.set_tool_category("web");
    const auto began = Clock::now();
    v1::RulesInForce in_force;
    in_force.set_number(1);
    in_force.set_hash("h");
    in_force.set_text(actors::rules_about(text, in.action_id()).value());
    const auto d = actors::judge(in, "production", "dec_1", constitution, {}, in_force,
                                 {"acme", &who, "ses_1", "m"});
    const std::chrono::duration<double, std::micro> took = Clock::now() - began;
    if (!d || d->rules_number() != 1) std::abort();
    if (i >= 0) us.push_back(took.count());
  }
  std::sort(us.begin(), us.end());
  double sum = 0;
  for (double one : us) sum += one;
  return {us[us.size() / 2], us[us.size() * 99 / 100], sum / static_cast<double>(us.size())};
}

}  // namespace
}  // namespace soma

// policy_bench [DECISIONS]
int main(int argc, char** argv) {
  const int count = argc > 1 ? std::max(100, std::atoi(argv[1])) : 100'000;
  const std::string typical = soma::rules(20), worst = soma::rules(soma::kRules);
  if (!soma::actors::check_rules(typical).empty() || !soma::actors::check_rules(worst).empty())
    return 1;
  const auto usual = soma::measure(typical, count);
  const auto hard = soma::measure(worst, std::min(count, 1000));
  std::printf("%s\n", boost::json::serialize(
                          boost::json::object{{"bench", "policy"},
                                              {"rules", soma::kRules},
                                              {"text_bytes", typical.size()},
                                              {"decisions", count},
                                              {"p50_us", usual.p50_us},
                                              {"p99_us", usual.p99_us},
                                              {"mean_us", usual.mean_us},
                                              {"all_rules_for_every_action_p50_us", hard.p50_us},
                                              {"all_rules_for_every_action_p99_us", hard.p99_us}})
                          .c_str());
  std::printf("GATE G6 %.1f us at %d rules %.0f us %s\n", usual.p99_us, soma::kRules, soma::kBarUs,
              usual.p99_us <= soma::kBarUs ? "PASS" : "FAIL");
  return 0;
}
