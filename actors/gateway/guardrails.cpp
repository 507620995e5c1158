// One function per question, no short cut: a caller sees everything that is missing at once.
#include "actors/gateway/guardrails.h"

#include <array>
#include <string_view>

#include "actors/policy/policy.h"

namespace soma::actors {

namespace {

constexpr std::array<std::string_view, 6> kByStrictness = {
    "developer-light", "developer-full", "test-debug", "test", "production-debug", "production"};

}  // namespace

int strictness(const std::string& mode) {
  for (std::size_t i = 0; i < kByStrictness.size(); ++i)
    if (kByStrictness[i] == mode) return static_cast<int>(i);
  return -1;
}

std::string stricter_mode(const std::string& a, const std::string& b) {
  return strictness(a) >= strictness(b) ? a : b;
}

std::vector<v1::FailedGuardrail> failing_guardrails(const std::string& mode,
                                                    const v1::ModeFacts& facts,
                                                    const std::string& training_holder) {
  std::vector<v1::FailedGuardrail> out;
  const auto require = [&](bool holds, const char* name, std::string message) {
    if (holds) return;
    v1::FailedGuardrail f;
    f.set_guardrail(name);
    f.set_message(std::move(message));
    out.push_back(std::move(f));
  };
  const bool production = is_production(mode);
  const bool test = mode.starts_with("test");
  if (production) {
    require(!facts.chat_provider().empty() && !facts.mock_provider(), "mock_provider",
            facts.chat_provider().empty()
                ? "no model provider is configured"
                : "the provider " + facts.chat_provider() + " is a stand-in for a model");
    require(facts.constitution_signed(), "constitution_signed",
            "no constitution is in force that is signed with a key of constitution.trusted_keys");
  }
  if (production || test) {
    require(!facts.anonymous_access(), "anonymous_access",
            "requests or records without a token would be let in; see kafka.trusted_producers");
    require(training_holder.empty(), "training_closed",
            "a training lock is held by " + training_holder + "; stop it first");
  }
  require(facts.audit_on(), "audit_on",
          "the journal does not take what must be recorded, or no audit heads are signed: "
          "audit.head_interval_s is 0");
  return out;
}

}  // namespace soma::actors
