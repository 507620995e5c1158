// Numbers are rounded to the stricter side; what the engine cannot say is a refusal.
#include "actors/policy/rules.h"

#include <algorithm>
#include <cmath>

#include "actors/policy/cedar/soma_cedar.h"

namespace soma::actors {

namespace {

constexpr int kMaxMatches = 32;
constexpr std::size_t kMaxMatchText = 1024;
constexpr double kMostTokens = 1e15;

soma_rules_text view(const std::string& s) {
  return {reinterpret_cast<const unsigned char*>(s.data()), s.size()};
}

// The strings of an answer, which is freed.
std::vector<std::string> strings(soma_rules_text answer) {
  std::vector<std::string> out;
  const auto* p = answer.data;
  const auto* end = p + answer.size;
  while (end - p >= 4) {
    const std::size_t size = p[0] | p[1] << 8 | p[2] << 16 | static_cast<std::size_t>(p[3]) << 24;
    p += 4;
    out.emplace_back(reinterpret_cast<const char*>(p), size);
    p += size;
  }
  soma_rules_free(answer);
  return out;
}

// Ten-thousandths; what lies between two of them goes up or down, what is meant as one stays.
std::int64_t e4(double value, bool up) {
  const double scaled = value * 1e4;
  const double nearest = std::nearbyint(scaled);
  if (std::abs(scaled - nearest) < 1e-6) return static_cast<std::int64_t>(nearest);
  return static_cast<std::int64_t>(up ? std::ceil(scaled) : std::floor(scaled));
}

std::int64_t tokens(double value, bool up) {
  const double whole = up ? std::ceil(value) : std::floor(value);
  return static_cast<std::int64_t>(std::clamp(whole, 0.0, kMostTokens));
}

void refuse(v1::PolicyDecision& d, const std::string& why) {
  d.set_denied(true);
  const auto& codes = d.reason_codes();
  if (std::find(codes.begin(), codes.end(), "rule_error") == codes.end())
    d.add_reason_codes("rule_error");
  d.add_reasons(why);
}

void keep(v1::PolicyDecision& d, const std::string& effect, const std::string& id,
          const std::string& reason, const std::string& text) {
  if (d.matched_rules_size() >= kMaxMatches) return;
  auto* match = d.add_matched_rules();
  match->set_id(id);
  match->set_effect(effect);
  match->set_reason(reason);
  std::size_t size = std::min(text.size(), kMaxMatchText);
  while (size < text.size() && size > 0 && (text[size] & 0xC0) == 0x80) --size;  // whole characters
  match->set_text(text.substr(0, size));
}

void speak(v1::PolicyDecision& d, const std::string& effect, const std::string& id,
           const std::string& reason) {
  if (effect == "error") return refuse(d, "rule " + id + ": could not be evaluated");
  d.add_reason_codes("rule:" + id);
  d.add_reasons("rule " + id + ": " + (reason.empty() ? effect : reason));
  if (effect == "review") {
    d.set_needs_approval(true);
    d.set_allow(false);  // until a person has approved
  } else {
    d.set_denied(true);
  }
}

std::vector<std::string> ask(const v1::PolicyDecision& d, const v1::RulesInForce& rules,
                             const Asker& asker, const std::string& mode) {
  static const v1::Principal kNobody;
  const v1::Principal& who = asker.principal ? *asker.principal : kNobody;
  const v1::PolicyInput& in = d.input();
  std::vector<soma_rules_text> capabilities;
  for (const auto& c : who.capabilities()) capabilities.push_back(view(c));
  soma_rules_request r{};
  r.action = view(in.action_id());
  r.capability = view(in.capability());
  r.tenant = view(asker.tenant);
  r.user = view(who.subject());
  r.session = view(asker.session);
  r.model = view(asker.model);
  r.mode = view(mode);
  r.tool_category = view(in.tool_category());
  r.capabilities = capabilities.data();
  r.capability_count = capabilities.size();
  r.risk_e4 = e4(in.risk_score(), true);
  r.confidence_e4 = e4(in.confidence(), false);
  r.score_e4 = e4(d.score(), false);
  r.budget_required = tokens(in.budget_required(), true);
  r.budget_remaining = tokens(in.budget_remaining(), false);
  r.has_budget_remaining = in.has_budget_remaining();
  r.requires_human = in.requires_human();
  return strings(soma_rules_judge(view(rules.text()), &r));
}

}  // namespace

std::vector<RuleIssue> check_rules(const std::string& text) {
  const auto found = strings(soma_rules_check(view(text)));
  std::vector<RuleIssue> out;
  for (std::size_t i = 0; i + 2 < found.size(); i += 3)
    out.push_back({static_cast<std::uint32_t>(std::stoul(found[i])),
                   static_cast<std::uint32_t>(std::stoul(found[i + 1])), found[i + 2]});
  return out;
}

std::string to_string(const RuleIssue& i) {
  return "line " + std::to_string(i.line) + ", column " + std::to_string(i.column) + ": " +
         i.message;
}

std::optional<std::string> rules_about(const std::string& text, const std::string& action_id) {
  auto found = strings(soma_rules_slice(view(text), view(action_id)));
  if (found.size() != 2 || found[0] != "ok") return std::nullopt;
  return std::move(found[1]);
}

void apply_rules(v1::PolicyDecision& d, const v1::RulesInForce& rules, const Asker& asker,
                 const std::string& mode) {
  d.set_rules_number(rules.number());
  d.set_rules_hash(rules.hash());
  if (rules.text().empty()) return;
  const auto said = ask(d, rules, asker, mode);
  if (said.empty() || said[0] != "ok" || said.size() % 4 != 1)
    return refuse(d, "the rules cannot be evaluated");
  for (std::size_t i = 1; i < said.size(); i += 4) {
    speak(d, said[i], said[i + 1], said[i + 2]);
    keep(d, said[i], said[i + 1], said[i + 2], said[i + 3]);
  }
}

}  // namespace soma::actors
