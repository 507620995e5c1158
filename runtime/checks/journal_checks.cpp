// Entry by entry: checks on the state before, then the fold.
#include "runtime/checks/journal_checks.h"

#include "runtime/checks/decide_check.h"
#include "runtime/checks/once_check.h"
#include "runtime/checks/timer_check.h"

namespace soma::checks {

JournalChecks::JournalChecks(const actors::Catalog& catalog, JournalOptions options)
    : catalog_(catalog), options_(std::move(options)) {
  auto delivery = std::make_unique<DeliveryCheck>(options_.partition_count, options_.live);
  auto park = std::make_unique<ParkCheck>();
  delivery_ = delivery.get();
  park_ = park.get();
  checks_.push_back(std::make_unique<OnceCheck>());
  checks_.push_back(std::move(delivery));
  checks_.push_back(std::move(park));
  checks_.push_back(std::make_unique<TimerCheck>());
  if (options_.decide_again) checks_.push_back(std::make_unique<DecideCheck>());
}

const JournalChecks::Folded* JournalChecks::find(const ActorKey& actor) const {
  auto it = actors_.find(actor);
  return it == actors_.end() ? nullptr : &it->second;
}

void JournalChecks::take(const events::ValidFrame& valid, Findings& findings) {
  for (const auto& entry : valid.frame->entries()) {
    ++commands_;
    const ActorKey key = actors::to_key(entry.actor());
    Folded& actor = actors_[key];
    if (!actor.type) {
      actor.type = catalog_.find(key.type);
      if (!actor.type) {
        findings.push_back({"I14", valid.position, "unknown actor type " + key.type});
        actors_.erase(key);
        continue;
      }
      actor.state = actor.type->new_state();
    }
    if (partition_of(key, options_.partition_count) != valid.position.partition)
      findings.push_back(
          {"I6", valid.position, to_string(key) + " does not belong to this partition"});
    erased_ += entry.sealed_size() > 0;
    actor.erased |= entry.sealed_size() > 0;
    const bool parked = !entry.parked().empty();
    parked_ += parked;
    decided_ += options_.decide_again && !parked && !actor.erased;
    const EntryView view{valid, entry, key, *actor.type, *actor.state, actor.erased};
    for (auto& check : checks_) check->entry(view, findings);
    fold(valid, entry, key, actor, findings);
    if (options_.on_state && entry.events_size() > 0)
      options_.on_state(key, *actor.type, *actor.state, actor.sequence);
  }
  for (auto& check : checks_) check->frame(valid, findings);
}

void JournalChecks::fold(const events::ValidFrame& valid, const v1::Entry& entry,
                         const ActorKey& key, Folded& actor, Findings& findings) {
  for (const auto& event : entry.events()) {
    ++events_;
    if (event.sequence() != actor.sequence.value + 1)
      findings.push_back({"I6", valid.position,
                          to_string(key) + ": event " + std::to_string(event.sequence()) +
                              " where " + std::to_string(actor.sequence.value + 1) + " was due"});
    actor.sequence = Sequence{event.sequence()};
    auto parsed = actor.type->new_event();
    if (!parsed->ParseFromString(event.payload())) {
      findings.push_back(
          {"I8", valid.position,
           to_string(key) + ": event " + std::to_string(event.sequence()) + " does not parse"});
      continue;
    }
    actor.type->evolve(*actor.state, *parsed);
  }
}

}  // namespace soma::checks
