// Decoded, asked of the host, encoded.
#include "runtime/cluster/answers.h"

#include "runtime/cluster/census.h"
#include "runtime/cluster/peers.h"

namespace soma::runtime {

namespace {

void put(v1::ClusterAnswer& out, Position position, Sequence sequence) {
  out.set_partition(position.partition.value);
  out.set_offset(position.offset.value);
  out.set_sequence(sequence.value);
}

void submit(PartitionHost& host, v1::ClusterSubmit& call, const OnAnswer& done) {
  Submission s;
  s.actor = actors::to_key(call.actor());
  s.command = std::move(*call.mutable_command());
  s.command_id = call.command_id();
  s.request_hash = call.request_hash();
  s.principal = call.principal();
  s.correlation_id = call.correlation_id();
  s.traceparent = call.traceparent();
  host.submit(std::move(s), [done](Result<Accepted> a) {
    if (!a) return done(answer_of(a.error()));
    v1::ClusterAnswer answer;
    put(answer, a->position, a->sequence);
    answer.set_body(std::move(a->reply));
    answer.set_replayed(a->replayed);
    done(std::move(answer));
  });
}

void read(PartitionHost& host, const v1::ActorRef& actor, const OnAnswer& done) {
  host.read(actors::to_key(actor), [done](Result<StateView> view) {
    if (!view) return done(answer_of(view.error()));
    v1::ClusterAnswer answer;
    put(answer, view->position, view->sequence);
    answer.set_body(view->state->SerializeAsString());
    done(std::move(answer));
  });
}

v1::ClusterAnswer no_such_partition() {
  return answer_of({Code::kInvalidArgument, "no such partition", {}});
}

template <typename Item>
v1::ClusterAnswer census(const Result<std::vector<Item>>& found) {
  if (!found) return answer_of(found.error());
  auto answer = census_answer(*found);
  return answer ? std::move(*answer) : answer_of(answer.error());
}

}  // namespace

v1::ClusterAnswer answer_of(const Error& error) {
  v1::ClusterAnswer out;
  auto* e = out.mutable_error();
  e->set_code(std::string(code_name(error.code)));
  e->set_message(error.message);
  e->set_field(error.field);
  e->set_retry_after_ms(error.retry_after_ms);
  return out;
}

bool answer_at_once(PartitionHost& host, v1::ClusterCall& call, const OnAnswer& done) {
  switch (call.kind_case()) {
    case v1::ClusterCall::kSubmit:
      submit(host, *call.mutable_submit(), done);
      return true;
    case v1::ClusterCall::kRead:
      read(host, call.read(), done);
      return true;
    case v1::ClusterCall::kRedrive:
      host.redrive(actors::to_key(call.redrive()), [done](const Status& s) {
        done(s ? v1::ClusterAnswer{} : answer_of(s.error()));
      });
      return true;
    default:
      return false;
  }
}

v1::ClusterAnswer history_answer(const PartitionHost& host, const v1::ClusterHistory& call) {
  auto page = host.history(actors::to_key(call.actor()), Sequence{call.after()},
                           static_cast<std::size_t>(call.limit()));
  if (!page) return answer_of(page.error());
  v1::ClusterAnswer answer;
  std::size_t bytes = 0;
  for (auto& e : *page) {
    bytes += e.event.ByteSizeLong() + e.context.ByteSizeLong();
    if (bytes > kClusterBodyBytes / 2 && answer.events_size() > 0)
      return answer_of({Code::kTooLarge, "ask for fewer events at a time", {}});
    auto* event = answer.add_events();
    event->set_offset(e.position.offset.value);
    *event->mutable_event() = std::move(e.event);
    *event->mutable_context() = std::move(e.context);
    answer.set_partition(e.position.partition.value);
  }
  return answer;
}

v1::ClusterAnswer actors_answer(const PartitionHost& host, const v1::ClusterActors& call,
                                std::uint32_t partitions) {
  if (call.partition() >= partitions) return no_such_partition();
  const ActorKey after = actors::to_key(call.after());
  auto found =
      host.actors_in(PartitionId{call.partition()}, call.tenant(), call.type(),
                     call.has_after() ? &after : nullptr, static_cast<std::size_t>(call.limit()));
  if (!found) return answer_of(found.error());
  v1::ClusterAnswer answer;
  for (const auto& place : *found) *answer.add_actors() = actors::to_ref(place.actor);
  return answer;
}

v1::ClusterAnswer census_answer(const PartitionHost& host, const v1::ClusterCensus& call,
                                std::uint32_t partitions) {
  if (call.partition() >= partitions) return no_such_partition();
  const PartitionId partition{call.partition()};
  return call.parked() ? census(host.parked_in(partition))
                       : census(host.pending_effects_in(partition));
}

void take_relay(PartitionHost& host, v1::ClusterRelay& item, std::uint32_t partitions) {
  if (item.source() >= partitions || item.target() >= partitions) return;
  const PartitionId source{item.source()}, target{item.target()};
  if (item.has_send())
    host.receive(source, target, std::move(*item.mutable_send()));
  else
    host.acknowledged(source, target, item.arrived());
}

}  // namespace soma::runtime
