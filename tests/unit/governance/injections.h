// Injected instructions, as attackers write them: each sentence in each disguise.
#pragma once

#include <string>
#include <vector>

namespace soma::actors {

struct Injection {
  std::string kind;  // "override/base64", …
  std::string text;
  std::string tool;  // what a model that obeys asks for
};

// Over 400, all different.
std::vector<Injection> injections();

}  // namespace soma::actors
