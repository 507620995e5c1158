// Effects: started when their frame is valid, reported back as commands.
#include "runtime/host/partition.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/planted.h"

namespace soma::runtime {

namespace {
constexpr std::string_view kTimer = "timer";
}

void Partition::update_effects(const ActorKey& actor, std::vector<actors::Effect> effects,
                               bool recovered) {
  EffectLedger::Change change;
  {
    std::lock_guard lock(ledger_mutex_);
    change = ledger_.update(actor, std::move(effects), w_.parts.clock->now_ms());
  }
  for (const auto& id : change.cancel) w_.parts.effects->cancel(id);
  for (const auto& effect : change.start) schedule(actor, effect, recovered);
}

void Partition::schedule(const ActorKey& actor, const actors::Effect& effect, bool recovered) {
  if (recovered && effect.effect_class == actors::EffectClass::kAtMostOnce &&
      !planted(Bug::kAtMostOnceRunsAgain)) {
    v1::EffectOutcome outcome;
    outcome.set_effect_id(effect.effect_id);
    outcome.set_attempt(effect.attempt);
    outcome.set_unknown("the node stopped while this effect may have been running");
    return report(actor, std::move(outcome));
  }
  if (recovered && effect.seen_while_running) {
    v1::EffectOutcome outcome;
    outcome.set_effect_id(effect.effect_id);
    outcome.set_attempt(effect.attempt);
    outcome.mutable_failure()->set_code("interrupted");
    outcome.mutable_failure()->set_message("the node stopped while this was running");
    outcome.mutable_failure()->set_retryable(true);
    return report(actor, std::move(outcome));
  }
  if (effect.not_before_ms <= w_.parts.clock->now_ms() || planted(Bug::kTimerEarly))
    return run_effect(actor, effect.effect_id, effect.attempt);
  wait_for(actor, effect);
}

// A timer is for a moment. A back-off is a while too: it is over when either has come, so that a
// clock that is set back, or was when this node began, makes nobody wait for hours.
void Partition::wait_for(const ActorKey& actor, const actors::Effect& effect) {
  auto wake = [self = weak_from_this(), actor, id = effect.effect_id, attempt = effect.attempt,
               generation = generation_] {
    auto alive = self.lock();
    if (!alive) return;
    alive->post([p = alive.get(), actor, id, attempt, generation] {
      if (generation == p->generation_) p->run_effect(actor, id, attempt);
    });
  };
  auto& clock = *w_.parts.clock;
  if (effect.kind != kTimer) clock.call_in(effect.not_before_ms - clock.now_ms(), wake);
  clock.call_at(effect.not_before_ms, std::move(wake));
}

void Partition::run_effect(const ActorKey& actor, const std::string& effect_id,
                           std::uint32_t attempt) {
  auto* item = ledger_.find(actor, effect_id, attempt);
  if (!item || item->state != EffectLedger::State::kPending) return;  // no longer wanted
  const actors::Effect& effect = item->effect;
  v1::EffectOutcome outcome;
  outcome.set_effect_id(effect_id);
  outcome.set_attempt(attempt);
  const std::int64_t now = w_.parts.clock->now_ms();
  if (effect.kind == kTimer) {
    if (now < effect.not_before_ms && !planted(Bug::kTimerEarly))
      return wait_for(actor, effect);  // the clock was set back
    outcome.set_result("");
    outcome.set_finished_ms(now);
    return report(actor, std::move(outcome));
  }
  if (effect.deadline_ms != 0 && now >= effect.deadline_ms) {
    outcome.mutable_failure()->set_code("deadline_exceeded");
    outcome.mutable_failure()->set_message("the effect's deadline passed before it could begin");
    return report(actor, std::move(outcome));
  }
  {
    std::lock_guard lock(ledger_mutex_);
    item->state = EffectLedger::State::kRunning;
  }
  w_.metrics->effects_started.fetch_add(1, std::memory_order_relaxed);
  EffectRunner::Job job{actor, effect, actor.tenant, {}, {}};
  w_.parts.effects->run(std::move(job), [self = weak_from_this(), actor, now,
                                         generation = generation_](v1::EffectOutcome o) {
    auto alive = self.lock();
    if (!alive) return;
    if (o.started_ms() == 0) o.set_started_ms(now);
    o.set_finished_ms(alive->w_.parts.clock->now_ms());
    alive->post([p = alive.get(), actor, o = std::move(o), generation] {
      if (generation == p->generation_) p->report(actor, o);
    });
  });
}

// What runs would end for nobody, beside its next attempt.
void Partition::forget_effects() {
  std::lock_guard lock(ledger_mutex_);
  for (const auto& [actor, items] : ledger_.all())
    for (const auto& [id, item] : items)
      if (item.state == EffectLedger::State::kRunning) w_.parts.effects->cancel(id);
  ledger_.clear();
}

void Partition::report(const ActorKey& actor, v1::EffectOutcome outcome) {
  auto* item = ledger_.find(actor, outcome.effect_id(), outcome.attempt());
  if (!item || item->state == EffectLedger::State::kReported ||
      item->state == EffectLedger::State::kUnknown)
    return;  // cancelled meanwhile, or left to a person
  {
    std::lock_guard lock(ledger_mutex_);
    item->state = EffectLedger::State::kReported;
  }
  auto& counter = outcome.has_result()    ? w_.metrics->effects_done
                  : outcome.has_failure() ? w_.metrics->effects_failed
                                          : w_.metrics->effects_unknown;
  counter.fetch_add(1, std::memory_order_relaxed);
  Input input;
  input.kind = Input::Kind::kEffect;
  input.actor = actor;
  input.command = w_.parts.catalog->find(actor.type)->outcome_command(outcome);
  input.context.set_command_id("effect:" + to_string(actor) + ":" + outcome.effect_id() + ":" +
                               std::to_string(outcome.attempt()));
  input.context.set_causation_id(outcome.effect_id());
  input.context.set_correlation_id(outcome.effect_id());
  input.context.mutable_principal()->set_subject("soma");
  input.context.mutable_principal()->set_tenant(actor.tenant);
  enqueue(std::move(input));
}

}  // namespace soma::runtime
