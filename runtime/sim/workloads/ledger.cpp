// Money moves between counters of all partitions, and none is made or lost on the way.
#include "runtime/sim/workload.h"
#include "soma/v1/counter.pb.h"

namespace soma::sim {

namespace {

constexpr std::uint64_t kAccounts = 12;

class Ledger final : public Workload {
 public:
  std::string_view name() const override { return "ledger"; }

  Op next(Rng& rng, Ground&) override {
    v1::CounterCommand c;
    Op op;
    op.actor = account(rng.below(kAccounts));
    if (rng.chance(350'000)) {
      op.amount = rng.between(1, 100);
      c.mutable_add()->set_amount(op.amount);
    } else {
      c.mutable_transfer()->set_amount(rng.between(1, 20));
      *c.mutable_transfer()->mutable_to() = actors::to_ref(account(rng.below(kAccounts)));
    }
    op.command = c.SerializeAsString();
    return op;
  }

  void accepted(const Op& op) override { paid_in_ += op.amount; }

  void finish(Oracle& oracle, const Outside&) override {
    std::int64_t sum = 0;
    for (std::uint64_t i = 0; i < kAccounts; ++i) {
      const auto* folded = oracle.journal().find(account(i));
      if (!folded) continue;
      const auto value = static_cast<const v1::CounterState&>(*folded->state).value();
      if (value < 0) oracle.complain("I7", {}, to_string(account(i)) + " is overdrawn");
      sum += value;
    }
    if (sum != paid_in_)
      oracle.complain("I7", {},
                      "clients paid in " + std::to_string(paid_in_) + ", the accounts hold " +
                          std::to_string(sum));
  }

 private:
  static ActorKey account(std::uint64_t n) {
    return {"bank", "counter", "account-" + std::to_string(n), {}};
  }
  std::int64_t paid_in_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_ledger() { return std::make_unique<Ledger>(); }

}  // namespace soma::sim
