// Shell completion, man page and markdown, generated from the tree of commands.
#pragma once

#include <string>
#include <vector>

#include "tools/term/tree.h"

namespace soma::cli {

std::string bash_completion(const CommandNode& root);
std::string zsh_completion(const CommandNode& root);
std::string fish_completion(const CommandNode& root);
// soma(1) in man(7) macros.
std::string man_page(const CommandNode& root, const std::string& version);
// docs/cli.md.
std::string markdown(const CommandNode& root);

}  // namespace soma::cli
