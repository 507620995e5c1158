// Verified, decoded, asked of the host, encoded.
#include "runtime/cluster/server.h"

#include <openssl/crypto.h>

#include "runtime/cluster/census.h"
#include "runtime/cluster/peers.h"

namespace soma::runtime {

namespace {

void put(v1::ClusterAnswer& out, const Error& error) {
  auto* e = out.mutable_error();
  e->set_code(std::string(code_name(error.code)));
  e->set_message(error.message);
  e->set_field(error.field);
  e->set_retry_after_ms(error.retry_after_ms);
}

void send(const http::Responder& responder, const v1::ClusterAnswer& answer) {
  http::Response response;
  response.content_type = "application/x-protobuf";
  response.body = answer.SerializeAsString();
  responder.send(std::move(response));
}

void send(const http::Responder& responder, const Error& error) {
  v1::ClusterAnswer answer;
  put(answer, error);
  send(responder, answer);
}

void put(v1::ClusterAnswer& out, Position position, Sequence sequence) {
  out.set_partition(position.partition.value);
  out.set_offset(position.offset.value);
  out.set_sequence(sequence.value);
}

void submit(PartitionHost& host, v1::ClusterSubmit& call, const http::Responder& responder) {
  Submission s;
  s.actor = actors::to_key(call.actor());
  s.command = std::move(*call.mutable_command());
  s.command_id = call.command_id();
  s.request_hash = call.request_hash();
  s.principal = call.principal();
  s.correlation_id = call.correlation_id();
  s.traceparent = call.traceparent();
  host.submit(std::move(s), [responder](Result<Accepted> a) {
    if (!a) return send(responder, a.error());
    v1::ClusterAnswer answer;
    put(answer, a->position, a->sequence);
    answer.set_body(std::move(a->reply));
    answer.set_replayed(a->replayed);
    send(responder, answer);
  });
}

void read(PartitionHost& host, const v1::ActorRef& actor, const http::Responder& responder) {
  host.read(actors::to_key(actor), [responder](Result<StateView> view) {
    if (!view) return send(responder, view.error());
    v1::ClusterAnswer answer;
    put(answer, view->position, view->sequence);
    answer.set_body(view->state->SerializeAsString());
    send(responder, answer);
  });
}

void history(PartitionHost& host, const v1::ClusterHistory& call,
             const http::Responder& responder) {
  auto page = host.history(actors::to_key(call.actor()), Sequence{call.after()},
                           static_cast<std::size_t>(call.limit()));
  if (!page) return send(responder, page.error());
  v1::ClusterAnswer answer;
  std::size_t bytes = 0;
  for (auto& e : *page) {
    bytes += e.event.ByteSizeLong() + e.context.ByteSizeLong();
    if (bytes > kClusterBodyBytes / 2 && answer.events_size() > 0)
      return send(responder, {Code::kTooLarge, "ask for fewer events at a time", {}});
    auto* event = answer.add_events();
    event->set_offset(e.position.offset.value);
    *event->mutable_event() = std::move(e.event);
    *event->mutable_context() = std::move(e.context);
    answer.set_partition(e.position.partition.value);
  }
  send(responder, answer);
}

void actors_of(PartitionHost& host, const v1::ClusterActors& call,
               const http::Responder& responder) {
  const ActorKey after = actors::to_key(call.after());
  auto found =
      host.actors_in(PartitionId{call.partition()}, call.tenant(), call.type(),
                     call.has_after() ? &after : nullptr, static_cast<std::size_t>(call.limit()));
  if (!found) return send(responder, found.error());
  v1::ClusterAnswer answer;
  for (const auto& place : *found) *answer.add_actors() = actors::to_ref(place.actor);
  send(responder, answer);
}

template <typename Item>
void census(const Result<std::vector<Item>>& found, const http::Responder& responder) {
  if (!found) return send(responder, found.error());
  const auto answer = census_answer(*found);
  answer ? send(responder, *answer) : send(responder, answer.error());
}

}  // namespace

Result<std::unique_ptr<ClusterServer>> ClusterServer::start(const std::string& listen,
                                                            std::string secret, Clock& clock,
                                                            std::uint32_t partitions) {
  std::unique_ptr<ClusterServer> out(new ClusterServer(std::move(secret), clock, partitions));
  out->router_.add({.method = "POST",
                    .pattern = kClusterPath,
                    .capability = "public",  // the signature says who may
                    .summary = "Between nodes of one cluster",
                    .tag = "cluster",
                    .body_limit = kClusterBodyBytes,
                    .raw_body = true},
                   [self = out.get()](auto r, auto responder) { self->handle(r, responder); });
  http::ServerOptions o;
  o.listen = listen;
  o.service = "soma-cluster";
  o.idle_timeout = std::chrono::minutes(5);
  auto server = http::Server::start(std::move(o), out->router_, nullptr);
  if (!server) return tl::unexpected(server.error());
  out->server_ = std::move(*server);
  return out;
}

std::string ClusterServer::address(const std::string& host) const {
  return host + ":" + std::to_string(server_->port());
}

void ClusterServer::handle(const std::shared_ptr<http::Request>& request,
                           const http::Responder& responder) {
  const std::string mac = cluster_mac(secret_, request->body);
  const auto given = request->headers.get_or(kClusterHeader, "");
  if (mac.empty() || given.size() != mac.size() ||
      CRYPTO_memcmp(given.data(), mac.data(), mac.size()) != 0)
    return responder.fail(
        {Code::kUnauthenticated, "not of this cluster: cluster.secret differs", {}});
  auto call = std::make_shared<v1::ClusterCall>();
  if (!call->ParseFromString(request->body))
    return responder.fail({Code::kMalformed, "the call cannot be decoded", {}});
  const std::int64_t age = clock_.now_ms() - call->sent_ms();
  if (age > kClusterCallAgeMs || age < -kClusterCallAgeMs)
    return responder.fail({Code::kUnauthenticated, "the call is too old, or clocks differ", {}});
  PartitionHost* host = host_;
  if (!host) return send(responder, {Code::kFenced, "the node is starting", {}});
  switch (call->kind_case()) {
    case v1::ClusterCall::kSubmit:
      return submit(*host, *call->mutable_submit(), responder);
    case v1::ClusterCall::kRead:
      return read(*host, call->read(), responder);
    case v1::ClusterCall::kHistory:
      return slow_.post([host, call, responder] { history(*host, call->history(), responder); });
    case v1::ClusterCall::kActors:
      if (call->actors().partition() >= partitions_)
        return send(responder, {Code::kInvalidArgument, "no such partition", {}});
      return slow_.post([host, call, responder] { actors_of(*host, call->actors(), responder); });
    case v1::ClusterCall::kCensus: {
      const PartitionId partition{call->census().partition()};
      if (partition.value >= partitions_)
        return send(responder, {Code::kInvalidArgument, "no such partition", {}});
      return call->census().parked() ? census(host->parked_in(partition), responder)
                                     : census(host->pending_effects_in(partition), responder);
    }
    case v1::ClusterCall::kHeads:
      return slow_.post([this, call, responder] {
        v1::ClusterAnswer answer;
        if (heads_)
          for (auto& line : heads_(call->heads().tenant())) answer.add_heads(std::move(line));
        send(responder, answer);
      });
    case v1::ClusterCall::kRedrive:
      return host->redrive(actors::to_key(call->redrive()), [responder](const Status& done) {
        done ? send(responder, v1::ClusterAnswer{}) : send(responder, done.error());
      });
    case v1::ClusterCall::kRelays:
      for (auto& item : *call->mutable_relays()->mutable_items()) {
        if (item.has_watch()) {
          tokens_.load()->took(item.watch());
          continue;
        }
        if (item.has_token()) {
          tokens_.load()->took(item.token());
          continue;
        }
        if (item.has_standby()) {
          standbys_.load()->took(item.standby());
          continue;
        }
        if (item.has_handover()) {
          if (item.handover().partition() < partitions_) handover_(item.handover());
          continue;
        }
        if (item.source() >= partitions_ || item.target() >= partitions_) continue;
        const PartitionId source{item.source()}, target{item.target()};
        if (item.has_send())
          host->receive(source, target, std::move(*item.mutable_send()));
        else
          host->acknowledged(source, target, item.arrived());
      }
      return send(responder, v1::ClusterAnswer{});
    case v1::ClusterCall::KIND_NOT_SET:
      break;
  }
  responder.fail({Code::kNotSupported, "this node's build does not know the call", {}});
}

}  // namespace soma::runtime
