// What a check says: which invariant, where, and what is wrong.
#pragma once

#include <string>
#include <vector>

#include "schemas/base/ids.h"

namespace soma::checks {

struct Finding {
  std::string invariant;  // "I7"
  Position at;            // of the first frame that shows it
  std::string what;
};
using Findings = std::vector<Finding>;

}  // namespace soma::checks
