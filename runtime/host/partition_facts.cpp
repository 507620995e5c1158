// Entry by entry, in the order of the log.
#include "runtime/host/partition_facts.h"

#include <algorithm>

#include "schemas/base/planted.h"

namespace soma::runtime {

Status PartitionFacts::restore(const std::string& bytes) {
  v1::PartitionExtra extra;
  if (!extra.ParseFromString(bytes)) return fail(Code::kInternal, "the checkpoint does not parse");
  for (const auto& mark : extra.last_sent())
    last_sent[mark.source_partition()] = mark.source_number();
  for (const auto& mark : extra.high_water())
    high_water[mark.source_partition()] = mark.source_number();
  for (const auto& item : extra.outbox())
    outbox[{partition_of(actors::to_key(item.send().to()), partitions).value,
            item.send().number()}] = item;
  for (const auto& entry : extra.parked()) take_parked(entry);
  claim = extra.claim();
  return {};
}

void PartitionFacts::take(const events::ValidFrame& valid) {
  const auto& frame = *valid.frame;
  if (frame.has_claim()) claim = frame.claim();
  for (int i = 0; i < frame.entries_size(); ++i) {
    const auto& entry = frame.entries(i);
    if (entry.has_input())
      high_water[entry.input().source_partition()] = entry.input().source_number();
    for (const auto& send : entry.sends()) {
      if (send.number() == 0 || planted(Bug::kOutboxForgotten)) continue;
      const PartitionId target = partition_of(actors::to_key(send.to()), partitions);
      auto& item = outbox[{target.value, send.number()}];
      *item.mutable_send() = send;
      *item.mutable_cause() = entry.context();
      item.mutable_cause()->set_causation_id(entry.events_size()
                                                 ? entry.events(entry.events_size() - 1).event_id()
                                                 : entry.context().command_id());
      *item.mutable_from() = entry.actor();
      last_sent[target.value] = send.number();
    }
    take_parked(entry);
    if (!entry.context().causation_id().empty()) continue;  // not a client's
    const std::uint64_t last = entry.events_size()
                                   ? entry.events(entry.events_size() - 1).sequence()
                               : i < frame.touched_size() ? frame.touched(i).first_sequence()
                                                          : 0;
    recent[entry.context().command_id()] = {entry.context().command_id(),
                                            entry.request_hash(),
                                            actors::to_key(entry.actor()),
                                            valid.position,
                                            Sequence{last},
                                            entry.reply(),
                                            entry.context().now_ms()};
  }
}

// A parked command waits, until the same command stands in the log as run.
void PartitionFacts::take_parked(const v1::Entry& entry) {
  const ActorKey actor = actors::to_key(entry.actor());
  const auto same = [&](const v1::Entry& e) {
    return e.context().command_id() == entry.context().command_id();
  };
  auto it = parked.find(actor);
  if (entry.parked().empty()) {
    if (it == parked.end()) return;
    std::erase_if(it->second.commands, same);
    if (it->second.commands.empty()) parked.erase(it);
    return;
  }
  if (planted(Bug::kParkedForgotten)) return;
  auto& waiting = parked[actor];
  if (waiting.commands.empty()) waiting.reason = entry.parked();
  if (std::none_of(waiting.commands.begin(), waiting.commands.end(), same))
    waiting.commands.push_back(entry);
}

v1::PartitionExtra PartitionFacts::extra() const {
  v1::PartitionExtra out = extra_of(last_sent, high_water, outbox);
  if (!claim.node_id().empty()) *out.mutable_claim() = claim;
  for (const auto& [actor, waiting] : parked)
    for (const auto& entry : waiting.commands)
      add_parked(out, actor, entry.context(), entry.command(), waiting.reason);
  return out;
}

v1::PartitionExtra extra_of(const SendMarks& last_sent, const SendMarks& high_water,
                            const Outbox& outbox) {
  v1::PartitionExtra extra;
  for (const auto& [target, number] : last_sent) {
    auto* mark = extra.add_last_sent();
    mark->set_source_partition(target);
    mark->set_source_number(number);
  }
  for (const auto& [source, number] : high_water) {
    if (planted(Bug::kHighWaterForgotten)) break;
    auto* mark = extra.add_high_water();
    mark->set_source_partition(source);
    mark->set_source_number(number);
  }
  for (const auto& [key, item] : outbox) *extra.add_outbox() = item;
  return extra;
}

void add_parked(v1::PartitionExtra& extra, const ActorKey& actor, const v1::Context& context,
                const std::string& command, const std::string& reason) {
  auto* entry = extra.add_parked();
  *entry->mutable_actor() = actors::to_ref(actor);
  *entry->mutable_context() = context;
  entry->set_command(command);
  entry->set_parked(reason);
}

std::vector<StateStore::HistoryRow> history_of(const events::ValidFrame& frame) {
  std::vector<StateStore::HistoryRow> out;
  for (const auto& touch : frame.frame->touched())
    if (touch.events() > 0)
      out.push_back(
          {actors::to_key(touch.actor()), Sequence{touch.first_sequence()}, frame.position.offset});
  return out;
}

}  // namespace soma::runtime
