// soma bundle: what someone who helps needs to see, without secrets or anybody's words.
#pragma once

#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

// One JSON document to `out` or stdout: the build, the machine, what the node says of itself, sizes
// and heads of the journal, metrics. What cannot be had is there with its reason. No setting's
// value, token, key, prompt, answer or event content is read.
int write_support_bundle(const Context& context, const std::string& out);

}  // namespace soma::cli
