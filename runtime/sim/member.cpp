// Following, reconciling, answering.
#include "runtime/sim/member.h"

namespace soma::sim {

namespace {

constexpr std::int64_t kSessionMs = 1'000;  // a fenced node waits so long before it claims again
constexpr std::int64_t kReconcileMs = 500;
constexpr std::int64_t kAnswerMs = 6'000;   // clients have more patience
constexpr std::uint32_t kChooses = 30'000;  // per million looks
constexpr std::size_t kReadBytes = 4096;

}  // namespace

Member::Member(Parts parts)
    : parts_(std::move(parts)),
      rng_(parts_.life->ground.seed, "member " + parts_.life->name),
      peers_(make_peers(*parts_.network, parts_.life)),
      ownership_({parts_.life->name, parts_.log->partition_count(), kSessionMs, peers_.get(),
                  parts_.clock, [this](PartitionId) { return heir(); }}) {
  for (std::uint32_t p = 0; p < parts_.log->partition_count(); ++p)
    whole_.emplace_back(*parts_.log, PartitionId{p});
}

void Member::serve(runtime::PartitionHost& local) {
  local_ = &local;
  ownership_.serve(local);
  const std::string& name = parts_.life->name;
  const std::uint32_t partitions = parts_.log->partition_count();
  front_ = std::make_unique<runtime::ClusterHost>(
      runtime::ClusterHost::Parts{&local, &ownership_.directory(), peers_.get(), parts_.catalog,
                                  parts_.clock, name, partitions, kAnswerMs});
  parts_.network->attach(name, {parts_.life,
                                [this](v1::ClusterCall call, runtime::OnAnswer done) {
                                  runtime::answer_at_once(*local_, call, done);
                                },
                                [this, partitions](v1::ClusterRelay item) {
                                  if (item.has_handover())
                                    return ownership_.handed_over(item.handover());
                                  runtime::take_relay(*local_, item, partitions);
                                }});
  for (PartitionId p{0}; auto& mark : ownership_.begin()) {
    readers_.emplace_back(*parts_.log, p, std::move(mark));
    p = p.next();
  }
  follow_later();
  reconcile_later();
  (void)ownership_.joined(parts_.group->join(
      parts_.life,
      [this](PartitionId p, events::Membership::Turn turn) { ownership_.changed(p, turn); }));
}

void Member::close() {
  if (!*here_) return;
  *here_ = nullptr;
  parts_.network->detach(parts_.life->name);
  ownership_.close();
  if (front_) front_->close();
}

void Member::follow_later() {
  parts_.life->ground.time.after(rng_.between(1'000, 60'000), [here = here_] {
    if (!*here || !(*here)->parts_.life->alive) return;
    if (!(*here)->parts_.life->paused()) (*here)->follow();
    (*here)->follow_later();
  });
}

void Member::follow() {
  for (auto& reader : readers_) {
    auto frames = reader.next(kReadBytes);
    if (!frames) continue;
    for (const auto& frame : *frames) {
      if (!parts_.life->alive) return;
      ownership_.took(frame);
    }
  }
  for (auto& reader : whole_)
    if (auto frames = reader.next(kReadBytes))
      for (const auto& frame : *frames)
        if (parts_.life->alive) parts_.on_frame(frame);
  if (parts_.stands_by && rng_.chance(kChooses)) choose();
}

void Member::choose() {
  std::set<PartitionId> wanted;
  for (std::uint32_t p = 0; p < readers_.size(); ++p)
    if (!local_->here(PartitionId{p}) && rng_.chance(500'000)) wanted.insert(PartitionId{p});
  local_->stand_by_for(wanted);
  if (rng_.chance(500'000)) local_->look_all();
}

void Member::reconcile_later() {
  parts_.clock->call_in(kReconcileMs, [here = here_] {
    if (!*here) return;
    (*here)->ownership_.reconcile();
    (*here)->reconcile_later();
  });
}

std::string Member::heir() {
  const auto others = parts_.network->addresses_but(parts_.life->name);
  return others.empty() || rng_.chance(200'000) ? std::string() : rng_.pick(others);
}

}  // namespace soma::sim
