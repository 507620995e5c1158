// The newest frames of the journal, then all that come after them.
#pragma once

#include <boost/json/array.hpp>
#include <cstdint>
#include <map>

#include "tools/cli/commands.h"

namespace soma::cli {

class LogTail {
 public:
  // The newest frames, at most the context's limit, the oldest first. From the second time on,
  // where lines are appended (--watch, no table), every frame since the last time, however many.
  Result<boost::json::array> next(const Context& context);

 private:
  std::map<std::uint32_t, std::uint64_t> next_;  // by partition: the first record not told
};

}  // namespace soma::cli
