// The bytes that a behaviour leads to, as steps in time.
#pragma once

#include <string>
#include <vector>

#include "tests/support/upstream_script.h"

namespace soma::test {

struct Step {
  int after_ms = 0;  // since the step before
  std::string bytes;
};

struct Plan {
  enum class End { kKeepAlive, kClose, kStall };
  std::vector<Step> steps;
  End end = End::kKeepAlive;
};

std::string asked_model(const std::string& request_body);  // empty: none is named
Plan chat_plan(const Behaviour& b, const std::string& request_body);
Plan embeddings_plan(const Behaviour& b, const std::string& request_body);
std::string plain_response(int status, const std::string& body,
                           const char* type = "application/json", int retry_after_s = 0);

}  // namespace soma::test
