// Assembling messages under a stated bound.
#include "actors/session/prompt.h"

#include <algorithm>
#include <charconv>

#include "actors/session/tools.h"
#include "schemas/base/cut_text.h"
#include "schemas/base/sha256.h"

namespace soma::actors {

namespace {

constexpr std::size_t kMaxMemoryBytes = 400;  // shown of one memory
constexpr std::size_t kMaxDenialBytes = 200;  // shown of one denial
constexpr std::int64_t kMemoryAllowanceTokens = 256;
constexpr std::uint32_t kMaxTokensLimit = 4096;

v1::ChatMessage message(const std::string& role, const std::string& content) {
  v1::ChatMessage m;
  m.set_role(role);
  m.set_content(content);
  return m;
}

std::string system_text(const v1::SessionState& state, const v1::Turn& turn,
                        std::vector<std::string>& used) {
  std::string text = state.persona().empty()
                         ? "You are a helpful assistant. Answer in one short sentence."
                         : state.persona();
  for (const auto& memory : turn.memories()) {
    text += used.empty() ? "\nWhat you remember:\n- " : "\n- ";
    text += cut_text(memory.text(), kMaxMemoryBytes);
    used.push_back(memory.memory_id());
  }
  return text;
}

// What the model asked for under our ids, and what became of each call.
void add_round(std::vector<v1::ChatMessage>& messages, const v1::ToolRound& round) {
  v1::ChatMessage asked = message("assistant", round.said());
  for (const auto& call : round.calls()) {
    auto* c = asked.add_tool_calls();
    c->set_id(call.call_id());
    c->set_name(call.name());
    c->set_arguments(call.arguments());
  }
  messages.push_back(std::move(asked));
  for (const auto& call : round.calls()) {
    v1::ChatMessage result =
        message("tool", call.status() == v1::CALL_DENIED
                            ? "denied: " + cut_text(call.denial().message(), kMaxDenialBytes)
                        : call.is_error() ? "error: " + call.output()
                                          : call.output());
    result.set_tool_call_id(call.call_id());
    messages.push_back(std::move(result));
  }
}

// As before there were tools where a message has none.
std::string hashed(const v1::ChatMessage& m) {
  std::string out = m.role() + "\n" + std::to_string(m.content().size()) + "\n" + m.content();
  if (!m.tool_call_id().empty()) out += "\nfor " + m.tool_call_id();
  for (const auto& c : m.tool_calls())
    out += "\ncall " + c.id() + " " + std::to_string(c.name().size()) + " " + c.name() + " " +
           std::to_string(c.arguments().size()) + " " + c.arguments();
  return out;
}

}  // namespace

AssembledPrompt assemble_prompt(const v1::SessionState& state, std::uint32_t number) {
  AssembledPrompt out;
  const v1::Turn& turn = state.turns(static_cast<int>(number) - 1);
  const std::string system = system_text(state, turn, out.from_memories);
  std::size_t bytes = system.size() + turn.prompt().size() + tool_bytes(turn);
  std::vector<const v1::Turn*> earlier;
  for (int i = static_cast<int>(number) - 2; i >= 0; --i) {
    const v1::Turn& t = state.turns(i);
    if (t.stage() != v1::DONE) continue;
    bytes += t.prompt().size() + t.answer().size();
    if (bytes > kMaxContextBytes) break;
    earlier.push_back(&t);
  }
  out.messages.push_back(message("system", system));
  for (auto it = earlier.rbegin(); it != earlier.rend(); ++it) {
    out.messages.push_back(message("user", (*it)->prompt()));
    out.messages.push_back(message("assistant", (*it)->answer()));
    out.from_turns.push_back((*it)->turn());
  }
  out.messages.push_back(message("user", turn.prompt()));
  for (const auto& round : turn.tool_rounds()) add_round(out.messages, round);
  std::string all;
  for (const auto& m : out.messages) all += hashed(m);
  for (const auto& tool : turn.tools().tools())
    all += "\ntool " + tool.tool().name() + " " + sha256_hex(tool.tool().description()) + " " +
           sha256_hex(tool.tool().parameters_json());
  out.input_hash = sha256_hex(all);
  return out;
}

std::int64_t estimate_tokens(const v1::SessionState& state, const std::string& prompt,
                             std::uint32_t max_tokens) {
  std::size_t bytes = prompt.size() + state.persona().size() + 64;
  for (const auto& t : state.turns())
    if (t.stage() == v1::DONE) bytes += t.prompt().size() + t.answer().size();
  bytes = std::min(bytes, kMaxContextBytes + prompt.size());
  return static_cast<std::int64_t>(bytes / 3) + kMemoryAllowanceTokens + max_tokens;
}

std::uint32_t max_tokens_of(const v1::SessionState& state) {
  auto it = state.metadata().find("max_tokens");
  if (it == state.metadata().end()) return kDefaultMaxTokens;
  std::uint32_t n = 0;
  const auto r = std::from_chars(it->second.data(), it->second.data() + it->second.size(), n);
  if (r.ec != std::errc{} || n == 0) return kDefaultMaxTokens;
  return std::min(n, kMaxTokensLimit);
}

}  // namespace soma::actors
