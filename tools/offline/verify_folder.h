// Verification of a data folder: bytes, then frames, then meaning, then what is derived.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>

#include "runtime/verify/verify.h"
#include "tools/cli/commands.h"

namespace soma::cli {

// kNotFound without a journal; damage is no error but in the report (first_bad with file and byte
// offset). `options.snapshots` and `on_progress` are filled in here.
Result<boost::json::object> verify_folder(const std::string& folder,
                                          runtime::VerifyOptions options);

// The same of a journal that has no segments to check.
boost::json::object verify_log(const events::Log& log, runtime::VerifyOptions options);

// A short table of the report for people.
std::string verified_summary(const boost::json::object& report);

}  // namespace soma::cli
