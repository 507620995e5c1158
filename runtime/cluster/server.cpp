// Verified, decoded, answered.
#include "runtime/cluster/server.h"

#include <openssl/crypto.h>

#include "runtime/cluster/answers.h"

namespace soma::runtime {

namespace {

void send(const http::Responder& responder, const v1::ClusterAnswer& answer) {
  http::Response response;
  response.content_type = "application/x-protobuf";
  response.body = answer.SerializeAsString();
  responder.send(std::move(response));
}

}  // namespace

Result<std::unique_ptr<ClusterServer>> ClusterServer::start(const std::string& listen,
                                                            std::string secret,
                                                            const ClusterTls& tls, Clock& clock,
                                                            std::uint32_t partitions,
                                                            Metrics* metrics) {
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
  o.tls = {tls.cert_file, tls.key_file, tls.ca_file, {}, {}, "cluster.tls", ".ca_file"};
  o.metrics = metrics;
  o.idle_timeout = std::chrono::minutes(5);
  // A caller that gave up asks anew, perhaps by another way, and tells its client what it hears
  // then. What it asked first may have waited here, as while this process was stopped.
  o.heeds_hang_ups = true;
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
  if (!host) return send(responder, answer_of({Code::kFenced, "the node is starting", {}}));
  if (answer_at_once(*host, *call, [responder](v1::ClusterAnswer a) { send(responder, a); }))
    return;
  switch (call->kind_case()) {
    case v1::ClusterCall::kHistory:
      return slow_.post(
          [host, call, responder] { send(responder, history_answer(*host, call->history())); });
    case v1::ClusterCall::kActors:
      return slow_.post([host, call, responder, n = partitions_] {
        send(responder, actors_answer(*host, call->actors(), n));
      });
    case v1::ClusterCall::kCensus:
      return send(responder, census_answer(*host, call->census(), partitions_));
    case v1::ClusterCall::kHeads:
      return slow_.post([this, call, responder] {
        v1::ClusterAnswer answer;
        if (heads_)
          for (auto& line : heads_(call->heads().tenant())) answer.add_heads(std::move(line));
        send(responder, answer);
      });
    case v1::ClusterCall::kRelays:
      for (auto& item : *call->mutable_relays()->mutable_items()) took(*host, item);
      return send(responder, v1::ClusterAnswer{});
    default:
      break;
  }
  responder.fail({Code::kNotSupported, "this node's build does not know the call", {}});
}

void ClusterServer::took(PartitionHost& host, v1::ClusterRelay& item) {
  if (item.has_watch()) return tokens_.load()->took(item.watch());
  if (item.has_token()) return tokens_.load()->took(item.token());
  if (item.has_standby()) return standbys_.load()->took(item.standby());
  if (!item.has_handover()) return take_relay(host, item, partitions_);
  if (item.handover().partition() < partitions_) handover_(item.handover());
}

}  // namespace soma::runtime
