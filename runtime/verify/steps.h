// What this build makes of every recorded command, as steps that another build's can be compared
// with.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/actor_type.h"
#include "events/log.h"

namespace soma::runtime {

// One recorded command: decided again on the state that the recorded events make, then folded.
struct Step {
  Position position;
  std::uint32_t entry = 0;          // within the frame
  std::string actor;                // TENANT/TYPE/ID
  std::string command_id, command;  // command: the case of its oneof
  std::uint64_t sequence = 0;       // of the actor, after it
  std::string gives;     // event types, "refused: CODE", "throws: …", "parked", "unreadable"
  std::string decision;  // digests of events, sends and reply; of the state after; of its effects
  std::string state, effects;
  // Of this build's own steps alone: a line does not tell them.
  ActorKey key;
  std::int64_t time_ms = 0;                  // of the frame
  std::optional<boost::json::object> whole;  // where it was asked for
};
// Where a step stands, as 3/17:0.
struct StepPlace {
  Position position;
  std::uint32_t entry = 0;
  auto operator<=>(const StepPlace&) const = default;
};
std::string to_string(const StepPlace& place);
std::optional<StepPlace> parse_step_place(std::string_view text);
std::string to_line(const Step& step);
std::optional<Step> step_of(std::string_view line);

// Steps in the order of the journal up to `ends` (one a partition), partition by partition; `visit`
// says false to stop. Those at `whole` come with all that they hold. kCorrupt.
Status each_step(const events::Log& log, const actors::Catalog& catalog,
                 const std::vector<std::uint64_t>& ends,
                 const std::function<bool(const Step&)>& visit,
                 const std::set<StepPlace>& whole = {});

// Takes the steps of two builds over the same journal, in the same order.
class BuildComparison {
 public:
  // False: the steps are not of the same journal. What is not wanted is not compared.
  bool take(const Step& here, const Step& there, bool wanted = true);
  std::uint64_t steps() const { return steps_; }
  bool same() const { return differing_ == 0; }
  std::uint64_t differing_actors() const { return differing_; }
  // {ok, steps, actors, differing_actors, broken_actors, broken: names, groups: [{kind, cause,
  // actors, first}], divergences: the first of each actor, with breaks}; at most kMost names and
  // divergences
  boost::json::object report() const;
  static constexpr std::size_t kMost = 200;
  // Where the first of each group stands, in the order of the report.
  std::vector<StepPlace> firsts() const;

 private:
  struct Divergence {
    Step here, there;
    std::string kind;     // decision, state, effects
    bool breaks = false;  // the other build throws, refuses, or cannot read
  };
  struct Group {
    std::string kind, cause;
    std::uint64_t actors = 0;
    Divergence first;
  };
  static boost::json::object to_json(const Divergence& d);

  std::uint64_t steps_ = 0, differing_ = 0, broken_ = 0;
  std::map<std::string, bool> actors_;  // whether it diverged
  std::map<std::string, Group> groups_;
  std::vector<Divergence> divergences_;
  std::vector<std::string> broken_names_;
};

}  // namespace soma::runtime
