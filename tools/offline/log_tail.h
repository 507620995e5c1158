// The newest frames of the journal, then all that come after them.
#pragma once

#include <boost/json/array.hpp>
#include <cstdint>
#include <map>
#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

class LogTail {
 public:
  // The newest frames, at most the context's limit, the oldest first; with the context's cursor
  // those from there on, of the partitions that it names. From the second time on, where lines are
  // appended (--watch, no table), every frame since the last time, however many.
  // kInvalidArgument names the flag.
  Result<boost::json::array> next(const Context& context);
  static constexpr int kMostNewest = 200;
  // Where the next tail goes on: PARTITION/OFFSET of each partition, by commas.
  std::string cursor() const;

 private:
  using Records = std::map<std::uint32_t, std::uint64_t>;  // by partition
  Result<boost::json::array> since(const Context& context, const Records& records, Records next);
  Result<boost::json::array> newest(const Context& context, Records next);
  std::map<std::uint32_t, std::uint64_t> next_;  // by partition: the first record not told
};

}  // namespace soma::cli
