// One input and the actor it is for.
#include "runtime/host/partition.h"

namespace soma::runtime {

// What the input makes of its actor, which is loaded.
void Partition::attend(Entity& target, Work& work, const PartitionWorld& world) {
  Decided& d = work.decided;
  if (work.input.kind == Input::Kind::kRead || work.input.kind == Input::Kind::kRestore) {
    d.sequence = target.sequence();
    if (target.broken) {
      d.thrown = target.problem;
    } else if (work.input.kind == Input::Kind::kRead) {
      auto copy = target.type().new_state();
      copy->CopyFrom(target.state());
      d.state = std::move(copy);
    }
    return;
  }
  Decided made = target.decide(work.input.context, work.input.command, world.parts.log->sealer());
  made.restored = d.restored;
  made.restored_effects = std::move(d.restored_effects);
  d = std::move(made);
}

}  // namespace soma::runtime
