// Governed turns from start to answer: budgets balance, every turn ends, recall shows what was
// remembered by its own tenant.
#include <set>

#include "actors/memory/memory.h"
#include "actors/tenant/tenant.h"
#include "runtime/sim/workloads/governed.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::sim {

namespace {

constexpr std::uint64_t kTenants = 3;

v1::PolicyInput policy(Rng& rng) { return policy_input(rng.chance(60'000) ? 1.0 : 0.1); }

constexpr const char* kConstitution = "simulated";  // in force, and without rules

class Sessions final : public Workload {
 public:
  std::string_view name() const override { return "sessions"; }

  Op next(Rng& rng, Ground&) override {
    const std::string tenant = "tenant-" + std::to_string(rng.below(kTenants));
    const std::uint64_t what = rng.below(100);
    if (what < 4) {
      v1::TenantCommand c;
      *c.mutable_put_settings()->mutable_settings() =
          tenant_settings(rng.chance(200'000) ? 4'000 : 50'000'000);
      return make_op(actors::tenant_key(tenant), c);
    }
    if (what < 20) return inference(rng, tenant);
    if (what < 36) return memory(rng, tenant);
    return session(rng, tenant, what);
  }

  void frame(const events::ValidFrame& valid, Oracle& oracle) override {
    for (const auto& entry : valid.frame->entries()) {
      const std::string& tenant = entry.actor().tenant();
      for (const auto& recorded : entry.events()) {
        if (recorded.type() == "memory.remembered")
          remembered_.insert(tenant + " " + entry.actor().id());
        if (recorded.type() != "memory.recalled") continue;
        v1::SessionEvent e;
        e.ParseFromString(recorded.payload());
        for (const auto& m : e.memory_recalled().memories())
          if (!remembered_.contains(tenant + " " + m.memory_id()))
            oracle.complain("I15", valid.position,
                            tenant + " recalls " + m.memory_id() + ", which it never remembered");
      }
    }
  }

  std::vector<std::string> unsettled(const Oracle& oracle) const override {
    std::vector<std::string> out;
    for (const auto& [key, actor] : oracle.journal().actors()) {
      if (key.type == "session") {
        const auto& s = static_cast<const v1::SessionState&>(*actor.state);
        if (s.turns_size() > 0 && s.turns(s.turns_size() - 1).stage() <= v1::CALLING)
          if (s.status() == v1::ACCEPTED || s.status() == v1::RUNNING)
            out.push_back(to_string(key) + " is in a turn");
      } else if (key.type == "inference") {
        const auto stage = static_cast<const v1::InferenceState&>(*actor.state).stage();
        if (stage == v1::INFERENCE_RESERVING || stage == v1::INFERENCE_CALLING)
          out.push_back(to_string(key) + " is in a call");
      }
    }
    return out;
  }

  void finish(Oracle& oracle, const Outside&) override {
    for (const auto& left : unsettled(oracle)) oracle.complain("I17", {}, left);
    for (const auto& [key, actor] : oracle.journal().actors()) {
      if (key.type == "tenant") {
        const auto& s = static_cast<const v1::TenantState&>(*actor.state);
        if (s.reserved_tokens() != 0 || s.reservations_size() != 0)
          oracle.complain("I7", {},
                          to_string(key) + " still holds " + std::to_string(s.reserved_tokens()) +
                              " reserved tokens");
      } else if (key.type == "model") {
        const auto& s = static_cast<const v1::ModelState&>(*actor.state);
        if (s.running_size() != 0 || s.waiting_size() != 0)
          oracle.complain("I17", {}, to_string(key) + " still has calls");
      }
    }
  }

 private:
  Op session(Rng& rng, const std::string& tenant, std::uint64_t what) {
    v1::SessionCommand c;
    std::string id;
    if (what < 66 || made_ == 0) {
      id = "session-" + std::to_string(++made_);
      c.mutable_start_session()->set_user("user");
      c.mutable_start_session()->set_prompt("question " + std::to_string(rng.below(1000)));
      *c.mutable_start_session()->mutable_settings() = tenant_settings(1);
      *c.mutable_start_session()->mutable_policy() = policy(rng);
      c.mutable_start_session()->mutable_constitution()->set_hash(kConstitution);
      (*c.mutable_start_session()->mutable_metadata())["a"] = "1";
      (*c.mutable_start_session()->mutable_metadata())["b"] = "2";
      tenants_.push_back(tenant);
      return make_op({tenant, "session", id, {}}, c);
    }
    const std::uint64_t n = rng.below(made_);
    id = "session-" + std::to_string(n + 1);
    if (what < 88) {
      c.mutable_send_message()->set_content("and then?");
      *c.mutable_send_message()->mutable_settings() = tenant_settings(1);
      *c.mutable_send_message()->mutable_policy() = policy(rng);
      c.mutable_send_message()->mutable_constitution()->set_hash(kConstitution);
    } else {
      c.mutable_cancel_session()->set_reason("simulated");
    }
    return make_op({tenants_[n], "session", id, {}}, c);
  }

  Op inference(Rng& rng, const std::string& tenant) {
    v1::InferenceCommand c;
    if (rng.chance(150'000) && calls_ > 0) {
      c.mutable_cancel_inference()->set_reason("simulated");
      return make_op({tenant, "inference", "call-" + std::to_string(1 + rng.below(calls_)), {}}, c);
    }
    auto* start = c.mutable_start_inference();
    auto* m = start->mutable_request()->add_messages();
    m->set_role("user");
    m->set_content("say " + std::to_string(rng.below(1000)));
    *start->mutable_settings() = tenant_settings(1);
    *start->mutable_policy() = policy(rng);
    start->mutable_constitution()->set_hash(kConstitution);
    return make_op({tenant, "inference", "call-" + std::to_string(++calls_), {}}, c);
  }

  Op memory(Rng& rng, const std::string& tenant) {
    v1::MemoryCommand c;
    const std::string id = "fact-" + std::to_string(rng.below(40));
    if (rng.chance(150'000)) {
      c.mutable_forget()->set_reason("simulated");
    } else {
      auto* fact = c.mutable_remember()->mutable_fact();
      fact->set_memory_id(id);
      fact->set_text(tenant + " knows " + std::to_string(rng.below(50)));
      fact->set_importance(0.5);
      fact->set_created_ms(static_cast<std::int64_t>(++facts_));
    }
    return make_op(actors::memory_key(tenant, id), c);
  }

  std::uint64_t made_ = 0, calls_ = 0, facts_ = 0;
  std::vector<std::string> tenants_;  // of each session
  std::set<std::string> remembered_;
};

}  // namespace

std::unique_ptr<Workload> make_sessions() { return std::make_unique<Sessions>(); }

}  // namespace soma::sim
