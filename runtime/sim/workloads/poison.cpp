// Commands that no build can decide: their senders are told, and others go on.
#include "runtime/sim/workload.h"
#include "soma/v1/counter.pb.h"

namespace soma::sim {

namespace {

class Poison final : public Workload {
 public:
  std::string_view name() const override { return "poison_commands"; }

  Op next(Rng& rng, Ground& ground) override {
    v1::CounterCommand c;
    Op op;
    op.actor = {"bank", "counter", "account-" + std::to_string(rng.below(12)), {}};
    if (ground.faults.draw(Fault::kExplode)) {
      c.mutable_explode();
      op.poison = true;
    } else {
      c.mutable_transfer()->set_amount(0);
      *c.mutable_transfer()->mutable_to() = actors::to_ref(op.actor);
    }
    op.command = c.SerializeAsString();
    return op;
  }
  void finish(Oracle&, const Outside&) override {}
};

}  // namespace

std::unique_ptr<Workload> make_poison() { return std::make_unique<Poison>(); }

}  // namespace soma::sim
