// Timers fire once; calls that may happen once at most are settled, and truthfully.
#include <map>

#include "runtime/sim/workload.h"
#include "soma/v1/counter.pb.h"

namespace soma::sim {

namespace {

constexpr std::uint64_t kActors = 8;

class Timers final : public Workload {
 public:
  std::string_view name() const override { return "timers"; }

  Op next(Rng& rng, Ground& ground) override {
    v1::CounterCommand c;
    Op op;
    op.actor = {"clock", "counter", "timers-" + std::to_string(rng.below(kActors)), {}};
    const std::string id = std::to_string(++made_);
    if (rng.chance(500'000)) {
      c.mutable_arm_timer()->set_timer_id("timer-" + id);
      c.mutable_arm_timer()->set_due_ms(ground.wall_ms() + rng.between(-5, 4'000));
    } else {
      c.mutable_call_out()->set_call_id("call-" + id);
    }
    op.command = c.SerializeAsString();
    return op;
  }

  void accepted(const Op& op) override {
    v1::CounterCommand c;
    c.ParseFromString(op.command);
    promised_.push_back(c.has_arm_timer() ? c.arm_timer().timer_id() : c.call_out().call_id());
  }

  void frame(const events::ValidFrame& valid, Oracle& oracle) override {
    for (const auto& entry : valid.frame->entries()) {
      if (entry.actor().tenant() != "clock") continue;
      for (const auto& recorded : entry.events()) {
        v1::CounterEvent e;
        e.ParseFromString(recorded.payload());
        std::string id = e.timer_fired().timer_id() + e.call_settled().call_id();
        if (id.empty()) continue;
        const std::string how = e.has_timer_fired() ? "fired" : e.call_settled().outcome();
        if (!ended_.emplace(id, how).second)
          oracle.complain(e.has_timer_fired() ? "I11" : "I16", valid.position, id + " ended twice");
      }
    }
  }

  void finish(Oracle& oracle, const Outside& outside) override {
    for (const auto& id : promised_)
      if (!ended_.contains(id)) oracle.complain("I11", {}, id + " was armed and never ended");
    for (const auto& [id, how] : ended_) {
      const auto times = outside.performed(id);
      if (how == "done" && times != 1)
        oracle.complain("I16", {}, id + " is recorded as done, and was not");
      if (how == "failed" && times != 0)
        oracle.complain("I16", {}, id + " is recorded as failed, and took place");
    }
  }

 private:
  std::uint64_t made_ = 0;
  std::vector<std::string> promised_;
  std::map<std::string, std::string> ended_;  // id, and how
};

}  // namespace

std::unique_ptr<Workload> make_timers() { return std::make_unique<Timers>(); }

}  // namespace soma::sim
