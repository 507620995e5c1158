// Fuzzes the deciders with commands of the right shape: of every actor type, one after the other,
// on the state that the earlier ones made, with outcomes of the effects that it calls for. A
// decider never throws on what parses, is a function of its arguments, and goes on equally from a
// stored state; counters and budgets agree with models that know nothing of how they are built.
#include <algorithm>
#include <map>
#include <set>

#include "actors/actor_type.h"
#include "soma/v1/counter.pb.h"
#include "soma/v1/effect.pb.h"
#include "soma/v1/tenant.pb.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/filler.h"

using namespace soma;
using namespace soma::actors;
using soma::fuzz::Bytes;
using soma::fuzz::check;

namespace {

// The sum of what was added, less what was sent away.
class CounterModel {
 public:
  void saw(const v1::CounterCommand& command, bool accepted) {
    if (!accepted) return;
    if (command.has_add()) value_ += command.add().amount();
    if (command.has_transfer()) value_ -= command.transfer().amount();
  }
  void agree(const v1::CounterState& state) const { check(state.value() == value_); }

 private:
  __int128 value_ = 0;
};

// What is spent and held of the budget in all. What is reserved never passes it.
class BudgetModel {
 public:
  void saw(const v1::TenantEvent& event) {
    if (event.has_settings_changed()) {
      limit_ = event.settings_changed().settings().budgets_tokens();
    } else if (event.has_budget_reserved()) {
      const auto& r = event.budget_reserved().reservation();
      check(held_.emplace(r.reservation_id(), r.tokens()).second);
      check(r.tokens() > 0 && spent_ + held() <= limit_);
    } else if (event.has_budget_settled()) {
      check(held_.erase(event.budget_settled().reservation_id()) == 1);
      spent_ += event.budget_settled().used_tokens();
    } else if (event.has_budget_released()) {
      check(held_.erase(event.budget_released().reservation_id()) == 1);
    }
  }
  void agree(const v1::TenantState& state) const {
    check(state.spent_tokens() == spent_ && state.reserved_tokens() == held());
    check(state.reservations().size() == held_.size());
  }

 private:
  __int128 held() const {
    __int128 sum = 0;
    for (const auto& [id, tokens] : held_) sum += tokens;
    return sum;
  }
  __int128 limit_ = 5000;  // until settings are put
  __int128 spent_ = 0;
  std::map<std::string, std::int64_t> held_;
};

struct Run {
  const ActorType& type;
  const ActorKey self;
  std::unique_ptr<Message> state;
  CounterModel counter;
  BudgetModel budget;

  static std::string bytes_of(const Result<ErasedDecision>& d) {
    if (!d) return "refused " + std::string(code_name(d.error().code)) + d.error().message;
    std::string out = d->reply;
    for (const auto& e : d->events) out += deterministic_bytes(*e) + "|";
    for (const auto& s : d->sends) out += to_string(s.to) + s.command + "|";
    return out;
  }

  void take(const Message& command, const v1::Context& context) {
    const auto decided = type.decide(self, *state, command, context);
    const auto stored = fuzz::stored_copy(*state);
    check(bytes_of(decided) == bytes_of(type.decide(self, *stored, command, context)));
    if (const auto* c = dynamic_cast<const v1::CounterCommand*>(&command))
      counter.saw(*c, decided.has_value());
    if (!decided) return check(!decided.error().message.empty());
    for (const auto& event : decided->events) {
      check(!type.event_type(*event).empty());
      type.evolve(*state, *event);
      type.evolve(*stored, *fuzz::stored_copy(*event));
      if (const auto* e = dynamic_cast<const v1::TenantEvent*>(event.get())) budget.saw(*e);
    }
    check(deterministic_bytes(*state) == deterministic_bytes(*stored));
    if (const auto* s = dynamic_cast<const v1::CounterState*>(state.get())) counter.agree(*s);
    if (const auto* s = dynamic_cast<const v1::TenantState*>(state.get())) budget.agree(*s);
    std::set<std::string> ids;
    for (const auto& effect : type.effects(self, *state))
      check(ids.insert(effect.effect_id).second && effect.attempt > 0);
  }
};

std::string outcome(const Run& run, Bytes& bytes) {
  auto effects = run.type.effects(run.self, *run.state);
  if (effects.empty()) return {};
  // States keep them in maps, whose order is an accident.
  std::sort(effects.begin(), effects.end(),
            [](const auto& a, const auto& b) { return a.effect_id < b.effect_id; });
  const auto& effect = effects[bytes.below(effects.size())];
  v1::EffectOutcome o;
  fuzz::fill(o, bytes);
  o.set_effect_id(effect.effect_id);
  o.set_attempt(bytes.next() % 8 == 0 ? effect.attempt + 1 : effect.attempt);
  return run.type.outcome_command(o);
}

v1::Context context_of(Bytes& bytes, int n, std::int64_t& now_ms) {
  v1::Context c;
  now_ms += bytes.number() % 100'000'000;
  now_ms = std::max<std::int64_t>(now_ms, 0);
  c.set_now_ms(now_ms);
  c.set_command_id("c" + std::to_string(n));
  c.mutable_principal()->set_tenant("acme");
  c.mutable_principal()->set_subject(bytes.word());
  return c;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto catalog = standard_catalog();
  Bytes bytes(data, size);
  const auto types = catalog->all();
  const ActorType& type = *types[bytes.below(types.size())];
  Run run{type, {"acme", std::string(type.name()), "a", {}}, type.new_state(), {}, {}};
  std::int64_t now_ms = 1'700'000'000'000;
  for (int n = 0; n < 24 && !bytes.empty(); ++n) {
    auto command = type.new_command();
    if (bytes.next() % 4 != 0 || !command->ParseFromString(outcome(run, bytes)))
      fuzz::fill(*command, bytes);
    if (const auto* c = dynamic_cast<const v1::CounterCommand*>(command.get());
        c && c->has_explode())
      continue;  // throws, to show what becomes of poison
    run.take(*command, context_of(bytes, n, now_ms));
  }
  return 0;
}
