// Command ids, seen once.
#include "runtime/checks/once_check.h"

namespace soma::checks {

void OnceCheck::entry(const EntryView& view, Findings& findings) {
  if (!view.entry.parked().empty()) return;
  const std::string& id = view.entry.context().command_id();
  if (!applied_.insert(std::to_string(view.frame.position.partition.value) + " " + id).second)
    findings.push_back({"I5", view.frame.position,
                        to_string(view.actor) + ": command " + id + " is applied twice"});
}

}  // namespace soma::checks
