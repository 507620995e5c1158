// The ledger's difference.
#include "runtime/host/effect_ledger.h"

#include <algorithm>

namespace soma::runtime {

EffectLedger::Change EffectLedger::update(const ActorKey& actor,
                                          std::vector<actors::Effect> effects,
                                          std::int64_t now_ms) {
  Change change;
  // States keep them in maps whose order is an accident.
  std::sort(effects.begin(), effects.end(),
            [](const auto& a, const auto& b) { return a.effect_id < b.effect_id; });
  auto it = items_.find(actor);
  if (it == items_.end()) {
    if (effects.empty()) return change;
    it = items_.emplace(actor, std::map<std::string, Item>{}).first;
  }
  const std::size_t counted = it->second.size();
  std::map<std::string, Item> next;
  for (auto& effect : effects) {
    auto old = it->second.find(effect.effect_id);
    const bool same = old != it->second.end() && old->second.effect.attempt == effect.attempt;
    if (!effect.unknown.empty()) {  // shown, never run
      const std::int64_t since_ms =
          same && old->second.state == State::kUnknown ? old->second.since_ms : now_ms;
      const std::string id = effect.effect_id;
      next[id] = {std::move(effect), State::kUnknown, since_ms};
      continue;
    }
    if (same) {
      next.insert(it->second.extract(old));
      continue;
    }
    change.start.push_back(effect);
    const std::string id = effect.effect_id;
    next[id] = {std::move(effect), State::kPending, now_ms};
  }
  for (const auto& [id, item] : it->second)
    if (!next.contains(id) && item.state == State::kRunning) change.cancel.push_back(id);
  size_ += next.size();
  size_ -= counted;
  it->second = std::move(next);
  if (it->second.empty()) items_.erase(it);
  return change;
}

EffectLedger::Item* EffectLedger::find(const ActorKey& actor, const std::string& effect_id,
                                       std::uint32_t attempt) {
  auto it = items_.find(actor);
  if (it == items_.end()) return nullptr;
  auto item = it->second.find(effect_id);
  return item == it->second.end() || item->second.effect.attempt != attempt ? nullptr
                                                                            : &item->second;
}

void EffectLedger::clear() {
  items_.clear();
  size_ = 0;
}

}  // namespace soma::runtime
