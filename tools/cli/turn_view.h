// A session's turn as people see it: what was decided, what was recalled, the answer as it comes.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include "tools/cli/commands.h"

namespace soma::cli {

// Fed with the events of a session's stream in order; writes to `out` (nothing when null) and
// remembers what the turn came to.
class TurnView {
 public:
  TurnView(std::ostream* out, Look look) : out_(out), look_(look) {}

  // One event of the stream. `turn` 0: every turn is shown, else only that one and what ends it.
  void take(std::string_view name, const boost::json::value& event, std::uint32_t turn);

  std::string status;              // completed, failed, cancelled; empty while it runs
  bool waits_for_results = false;  // of tool calls that were handed out
  std::uint64_t last_sequence = 0;
  // {turn, status, answer, decision, memories, usage, error?} of the last turn seen.
  const boost::json::object& result() const { return result_; }

 private:
  void line(const std::string& text, const char* colour);
  void decided(const boost::json::value& data);
  void recalled(const boost::json::value& data);
  // Whether it was one of a tool call's events.
  bool tool_event(std::string_view name, const boost::json::value& data);
  void token(const boost::json::value& event);
  void failed(const boost::json::value& failure);
  void end_answer();

  std::ostream* out_;
  const Look look_;
  bool ours_ = true, answering_ = false;
  std::string answer_;
  boost::json::object result_;
};

// "allowed  score 0.93, at least 0.70 is needed" and the like.
std::string decision_line(const boost::json::value& decision);

}  // namespace soma::cli
