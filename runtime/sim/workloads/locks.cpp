// Training locks: of one tenant at most one holder at a time, whom alone it obeys.
#include <map>

#include "actors/gateway/gateway.h"
#include "runtime/sim/workloads/governed.h"

namespace soma::sim {

namespace {

class Locks final : public Workload {
 public:
  std::string_view name() const override { return "locks"; }

  Op next(Rng& rng, Ground&) override {
    v1::GatewayCommand c;
    const std::string tenant = "school-" + std::to_string(rng.below(2));
    const std::string person = "person-" + std::to_string(rng.below(3));
    if (rng.chance(550'000))
      c.mutable_start_training()->set_tenant(tenant);
    else
      c.mutable_stop_training()->set_tenant(tenant);
    return make_op(actors::gateway_key(), c, person);
  }

  void frame(const events::ValidFrame& valid, Oracle& oracle) override {
    each_event<v1::GatewayEvent>(
        valid, "gateway", [&](const v1::Entry& entry, const ActorKey&, const v1::GatewayEvent& e) {
          const std::string& who = entry.context().principal().subject();
          if (e.has_training_started()) {
            const auto& lock = e.training_started().lock();
            auto [held, fresh] = holders_.try_emplace(lock.tenant(), lock.locked_by());
            if (!fresh)
              oracle.complain("L1", valid.position,
                              lock.tenant() + " is locked by " + lock.locked_by() + " while " +
                                  held->second + " holds it");
            if (lock.locked_by() != who)
              oracle.complain("L1", valid.position, who + " took a lock for " + lock.locked_by());
          } else if (e.has_training_stopped()) {
            const auto it = holders_.find(e.training_stopped().tenant());
            if (it == holders_.end() || it->second != who)
              oracle.complain("L1", valid.position,
                              who + " ended a lock of " + e.training_stopped().tenant() +
                                  " that it does not hold");
            holders_.erase(e.training_stopped().tenant());
          }
        });
  }

  void finish(Oracle& oracle, const Outside&) override {
    const auto* folded = oracle.journal().find(actors::gateway_key());
    if (!folded) return;
    std::map<std::string, std::string> held;
    for (const auto& [tenant, lock] :
         static_cast<const v1::GatewayState&>(*folded->state).training())
      held.emplace(tenant, lock.locked_by());
    if (held != holders_)
      oracle.complain("L1", {}, "the state's locks are not those of its events");
  }

 private:
  std::map<std::string, std::string> holders_;  // by tenant
};

}  // namespace

std::unique_ptr<Workload> make_locks() { return std::make_unique<Locks>(); }

}  // namespace soma::sim
