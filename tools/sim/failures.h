// What to do with seeds that fail: make one small; run those that once failed.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <string>
#include <vector>

#include "tools/sim/batch.h"

namespace soma::simulate {

// Kinds of faults that are drawn, and workloads.
std::set<std::string> names_to_leave_out();

// The command line that shows a world ("run"), or makes it small ("shrink").
std::string command_of(const Batch& batch, const std::string& verb);

// A smaller world with the violation of `batch`'s first seed: members `command`, `steps`,
// `without`, `clients`, `tried`, and those of its report. kNotFound when that seed does not fail.
Result<boost::json::object> shrink(const Batch& batch, std::uint64_t budget,
                                   const std::function<void(const std::string&)>& on_progress);

struct KeptSeed {
  std::uint64_t seed = 0, steps = 0;
  std::string why;
};
// Lines of SEED STEPS WHY; # begins a comment. kInvalidArgument names a bad line.
Result<std::vector<KeptSeed>> read_corpus(const std::string& path);

}  // namespace soma::simulate
