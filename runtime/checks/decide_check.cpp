// Deciding again.
#include "runtime/checks/decide_check.h"

#include <exception>

namespace soma::checks {

namespace {

std::string difference(const actors::ErasedDecision& now, const v1::Entry& then) {
  if (static_cast<int>(now.events.size()) != then.events_size()) return "another number of events";
  for (int i = 0; i < then.events_size(); ++i)
    if (actors::deterministic_bytes(*now.events[static_cast<std::size_t>(i)]) !=
        then.events(i).payload())
      return "another event " + then.events(i).type();
  if (static_cast<int>(now.sends.size()) != then.sends_size()) return "another number of sends";
  for (int i = 0; i < then.sends_size(); ++i)
    if (now.sends[static_cast<std::size_t>(i)].command != then.sends(i).command())
      return "another send to " + to_string(actors::to_key(then.sends(i).to()));
  return now.reply == then.reply() ? "" : "another reply";
}

}  // namespace

void DecideCheck::entry(const EntryView& view, Findings& findings) {
  // What was decided on is no longer there; that it was erased is told by counts.
  if (!view.entry.parked().empty() || view.erased) return;
  const auto complain = [&](const std::string& what) {
    findings.push_back({"I14", view.frame.position,
                        to_string(view.actor) + ": decide of " + view.entry.context().command_id() +
                            " now gives " + what});
  };
  auto command = view.type.new_command();
  if (!command->ParseFromString(view.entry.command())) {
    if (view.entry.rejected().empty()) complain("nothing: the command does not parse");
    return;
  }
  Result<actors::ErasedDecision> decision;
  try {
    decision = view.type.decide(view.actor, view.state, *command, view.entry.context());
  } catch (const std::exception& e) {
    return complain(std::string("an exception: ") + e.what());
  }
  if (!decision) {
    if (view.entry.rejected().empty()) complain("a refusal: " + decision.error().message);
    return;
  }
  if (!view.entry.rejected().empty()) return complain("events where it refused");
  if (auto what = difference(*decision, view.entry); !what.empty()) complain(what);
}

}  // namespace soma::checks
