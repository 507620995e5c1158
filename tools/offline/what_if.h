// What a session would have been under another policy, model, constitution or settings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/config/config.h"
#include "tools/cli/commands.h"

namespace soma::cli {

struct WhatIf {
  std::string session;
  std::string policy;  // file: fields of PolicyInput in place of the recorded ones, or Cedar rules
  std::string model;   // asked for instead
  std::string constitution;                      // file: a bundle, a document, or its rules
  std::string settings;                          // file: fields of TenantSettings
  bool live = false;                             // from where they part, the model is really called
  std::optional<std::int64_t> budget_tokens;     // that live calls may take; none: the default
  runtime::config::FlagValues model_settings{};  // of slm.*, over the environment's

  static constexpr std::int64_t kDefaultBudgetTokens = 5000;  // as a tenant's
};

// Decides the session's recorded commands again with these in place. Recorded results (budget,
// memories, answers) are used as long as the session asks for the same. There it ends, or with
// `live` goes on: its later requests come as recorded, and the model is called, under the budget.
// What was recorded and what came instead are shown side by side. Reads the folder or the cluster;
// writes nothing. Exit 7 when the budget ended it.
int what_if(const Context& context, const WhatIf& change);

}  // namespace soma::cli
