// Budgets with limits that bite, in all and in windows: what is used and reserved never passes a
// limit when more is reserved, and each reservation ends once.
#include <map>

#include "actors/tenant/tenant.h"
#include "runtime/sim/workloads/governed.h"
#include "soma/v1/inference.pb.h"

namespace soma::sim {

namespace {

constexpr std::uint64_t kPurses = 2, kUsers = 3;
constexpr const char* kConstitution = "simulated";

class Budgets final : public Workload {
 public:
  std::string_view name() const override { return "budgets"; }

  Op next(Rng& rng, Ground&) override {
    const std::string tenant = purse(rng.below(kPurses));
    if (rng.chance(120'000) || limits_.empty()) return limits(rng, tenant);
    v1::InferenceCommand c;
    auto* start = c.mutable_start_inference();
    auto* m = start->mutable_request()->add_messages();
    m->set_role("user");
    m->set_content("say " + std::to_string(rng.below(1000)));
    start->mutable_request()->mutable_sampling()->set_max_tokens(
        static_cast<std::uint32_t>(rng.between(1, 60)));
    *start->mutable_settings() = tenant_settings(1);
    *start->mutable_policy() = policy_input();
    start->mutable_constitution()->set_hash(kConstitution);
    return make_op({tenant, "inference", "call-" + std::to_string(++calls_), {}}, c,
                   "user-" + std::to_string(rng.below(kUsers)));
  }

  void frame(const events::ValidFrame& valid, Oracle& oracle) override {
    each_event<v1::TenantEvent>(
        valid, "tenant", [&](const v1::Entry&, const ActorKey& key, const v1::TenantEvent& e) {
          if (!key.tenant.starts_with("purse-")) return;
          Purse& p = purses_[key.tenant];
          if (e.has_settings_changed())
            p.settings = e.settings_changed().settings();
          else if (e.has_budget_reserved())
            reserved(p, e.budget_reserved().reservation(), valid.position, oracle);
          else if (e.has_budget_settled())
            ended(p, e.budget_settled().reservation_id(), e.budget_settled().used_tokens(), true,
                  valid.position, oracle);
          else if (e.has_budget_released())
            ended(p, e.budget_released().reservation_id(), 0, false, valid.position, oracle);
        });
  }

  void finish(Oracle& oracle, const Outside&) override {
    for (const auto& [tenant, p] : purses_) {
      for (const auto& [id, held] : p.open)
        oracle.complain("L2", {}, tenant + " still holds reservation " + id);
      const auto* folded = oracle.journal().find(actors::tenant_key(tenant));
      const auto& s = static_cast<const v1::TenantState&>(*folded->state);
      if (s.spent_tokens() != p.spent)
        oracle.complain("L2", {},
                        tenant + " spent " + std::to_string(p.spent) + " tokens, its state says " +
                            std::to_string(s.spent_tokens()));
    }
  }

 private:
  static constexpr std::size_t kHoursKept = 3;  // beside the one that counts
  struct Held {
    std::int64_t tokens = 0;
    std::string user;
    bool counted = false;  // reserved while there were rules
  };
  struct Purse {
    v1::TenantSettings settings;
    std::int64_t spent = 0, used = 0;              // in all; while there were rules
    std::map<std::string, std::int64_t> requests;  // of each user, while there were rules
    std::int64_t hour_start_ms = 0;
    std::map<std::int64_t, std::int64_t> hours;   // tokens used and reserved, by the hour's start
    std::map<std::string, std::int64_t> hour_of;  // of a reservation
    std::map<std::string, Held> open;
    std::map<std::string, int> ends;
  };

  static std::string purse(std::uint64_t n) { return "purse-" + std::to_string(n); }

  // Limits rise as the world goes on, and fall at times below what is used.
  Op limits(Rng& rng, const std::string& tenant) {
    std::int64_t& top = limits_[tenant];
    top += rng.between(0, 600);
    v1::TenantCommand c;
    auto* s = c.mutable_put_settings()->mutable_settings();
    *s = tenant_settings(1'000'000'000);
    auto* tokens = s->add_budgets();
    tokens->set_scope("tenant");
    tokens->set_unit("tokens");
    tokens->set_hard(std::max<std::int64_t>(0, top - (rng.chance(200'000) ? 500 : 0)));
    tokens->set_window("total");
    auto* requests = s->add_budgets();
    requests->set_scope("user");
    requests->set_unit("requests");
    requests->set_hard(top / 60);
    requests->set_window("total");
    auto* hourly = s->add_budgets();
    hourly->set_scope("tenant");
    hourly->set_unit("tokens");
    hourly->set_hard(std::max<std::int64_t>(0, top / 2));
    hourly->set_window("hour");
    return make_op(actors::tenant_key(tenant), c, "treasurer");
  }

  void reserved(Purse& p, const v1::Reservation& r, Position at, Oracle& oracle) {
    const bool rules = p.settings.budgets_size() == 3;
    if (!p.open.emplace(r.reservation_id(), Held{r.tokens(), r.user(), rules}).second ||
        p.ends.contains(r.reservation_id()))
      return oracle.complain("L2", at, "reservation " + r.reservation_id() + " is made twice");
    if (!rules) return;
    windowed(p, r, at, oracle);
    std::int64_t taken = p.used;
    std::int64_t asked = p.requests[r.user()];
    for (const auto& [id, held] : p.open) {
      if (!held.counted) continue;
      taken += held.tokens;
      asked += held.user == r.user();
    }
    if (taken > p.settings.budgets(0).hard())
      oracle.complain("L2", at,
                      std::to_string(taken) + " tokens used and reserved, over the limit of " +
                          std::to_string(p.settings.budgets(0).hard()));
    if (asked > p.settings.budgets(1).hard())
      oracle.complain("L2", at,
                      r.user() + " made " + std::to_string(asked) +
                          " requests, over the limit of " +
                          std::to_string(p.settings.budgets(1).hard()));
  }

  // The hour that the reservation names is counted by itself: what is held in it and what was used.
  static void windowed(Purse& p, const v1::Reservation& r, Position at, Oracle& oracle) {
    for (const auto& c : r.counted()) {
      if (c.window_end_ms() == 0) continue;
      if (c.window_end_ms() - c.window_start_ms() != 3'600'000 || r.at_ms() < c.window_start_ms() ||
          r.at_ms() >= c.window_end_ms())
        oracle.complain("L2", at, r.reservation_id() + " is counted in an hour that it is not in");
      // A clock that is set back finds what was counted; the latest hours beside this one are kept.
      p.hour_start_ms = c.window_start_ms();
      std::int64_t& hour = p.hours[p.hour_start_ms];
      hour += r.tokens();
      if (const auto first = p.hours.begin(); p.hours.size() > kHoursKept + 1)
        p.hours.erase(first->first == p.hour_start_ms ? std::next(first) : first);
      p.hour_of[r.reservation_id()] = c.window_start_ms();
      if (hour > p.settings.budgets(2).hard())
        oracle.complain("L2", at,
                        std::to_string(hour) + " tokens of one hour used and reserved, over " +
                            std::to_string(p.settings.budgets(2).hard()));
    }
  }

  void ended(Purse& p, const std::string& id, std::int64_t used, bool happened, Position at,
             Oracle& oracle) {
    const auto it = p.open.find(id);
    if (++p.ends[id] > 1 || it == p.open.end())
      return oracle.complain("L2", at, "reservation " + id + " ends twice, or never began");
    p.spent += used;
    if (const auto hour = p.hour_of.find(id);
        hour != p.hour_of.end() && p.hours.contains(hour->second))
      p.hours[hour->second] += used - it->second.tokens;
    if (it->second.counted) {
      p.used += used;
      p.requests[it->second.user] += happened;
    }
    p.open.erase(it);
  }

  std::uint64_t calls_ = 0;
  std::map<std::string, std::int64_t> limits_;  // asked for last
  std::map<std::string, Purse> purses_;
};

}  // namespace

std::unique_ptr<Workload> make_budgets() { return std::make_unique<Budgets>(); }

}  // namespace soma::sim
