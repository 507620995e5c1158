// What a session would have been under another policy, model, constitution or settings.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

struct WhatIf {
  std::string session;
  std::string policy;  // file: fields of PolicyInput in place of the recorded ones, or Cedar rules
  std::string model;   // asked for instead
  std::string constitution;  // file: a bundle, a document, or its rules
  std::string settings;      // file: fields of TenantSettings
};

// Decides the session's recorded commands again with these in place. Recorded results (budget,
// memories, answers) are used as long as the session asks for the same; there it ends, and what was
// recorded and what is simulated are shown side by side. Reads the folder or the cluster; nothing
// is called or written.
int what_if(const Context& context, const WhatIf& change);

}  // namespace soma::cli
