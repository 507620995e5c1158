// What must hold before the server may run in a mode.
#pragma once

#include <string>
#include <vector>

#include "soma/v1/gateway.pb.h"

namespace soma::actors {

// Every guardrail of `mode` that fails, in a fixed order; `training_holder`: who holds a training
// lock, "" when none is held. Production modes have all: mock_provider, constitution_signed,
// anonymous_access, training_closed, audit_on; test modes the last four but the constitution's;
// developer modes audit_on only.
std::vector<v1::FailedGuardrail> failing_guardrails(const std::string& mode,
                                                    const v1::ModeFacts& facts,
                                                    const std::string& training_holder);

// How strict a mode is: developer-light 0 to production 5. -1: no mode.
int strictness(const std::string& mode);
// The stricter of two; an unknown one never wins.
std::string stricter_mode(const std::string& a, const std::string& b);

}  // namespace soma::actors
