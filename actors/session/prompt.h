// What the model is asked: a pure function of a session's state.
#pragma once

#include <vector>

#include "soma/v1/model.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::actors {

inline constexpr std::size_t kMaxContextBytes =
    12'000;  // of assembled messages, about 4,000 tokens
inline constexpr std::uint32_t kDefaultMaxTokens = 256;

struct AssembledPrompt {
  std::vector<v1::ChatMessage> messages;
  std::vector<std::uint32_t> from_turns;  // earlier turns that fitted, oldest first
  std::vector<std::string> from_memories;
  std::string input_hash;  // hex SHA-256 of the messages
};

// For the turn `turn` (from 1), which must have been recalled for; with what its tools were asked
// for and gave. Older turns are left out first.
AssembledPrompt assemble_prompt(const v1::SessionState& state, std::uint32_t turn);

// Tokens to reserve before anything is known: a pessimistic estimate of the input, plus the
// output's maximum.
std::int64_t estimate_tokens(const v1::SessionState& state, const std::string& prompt,
                             std::uint32_t max_tokens);

// From metadata "max_tokens", 1 to 4096; the default when absent or unreadable.
std::uint32_t max_tokens_of(const v1::SessionState& state);

}  // namespace soma::actors
