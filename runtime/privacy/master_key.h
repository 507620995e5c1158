// The key under which data keys are kept.
#pragma once

#include <string>

#include "schemas/base/errors.h"

namespace soma::runtime::privacy {

// Raw. `given`: 64 hex digits, or empty: `folder`/master.key, which is made unless `read_only`,
// complete or absent even after a crash. kInvalidArgument: `given` is not 64 hex digits.
Result<std::string> master_key(const std::string& folder, const std::string& given, bool read_only);

}  // namespace soma::runtime::privacy
