// The other end of Peers: answers for the partitions that are here.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cluster/peers.h"
#include "runtime/cluster/standbys.h"
#include "runtime/cluster/token_relay.h"
#include "runtime/host/host.h"
#include "runtime/host/worker.h"
#include "runtime/http/server.h"

namespace soma::runtime {

// Until serve() every call is answered `fenced`.
class ClusterServer {
 public:
  // `listen` as of http::ServerOptions. `metrics` may be null.
  static Result<std::unique_ptr<ClusterServer>> start(const std::string& listen, std::string secret,
                                                      const ClusterTls& tls, Clock& clock,
                                                      std::uint32_t partitions, Metrics* metrics);
  // Lines of JSON: what this node keeps of a tenant. Set before serve(); may block.
  using Heads = std::function<std::vector<std::string>(const std::string& tenant)>;
  using OnHandover = std::function<void(const v1::ClusterHandover&)>;
  void tells_heads(Heads heads) { heads_ = std::move(heads); }
  void serve(PartitionHost* host, TokenRelay* tokens, Standbys* standbys, OnHandover handover) {
    tokens_ = tokens;
    standbys_ = standbys;
    handover_ = std::move(handover);
    host_ = host;
  }
  std::string address(const std::string& host) const;  // HOST:PORT, with this server's port
  void stop() {
    server_->stop(0);
    slow_.stop();  // what reads the host ends before it goes
  }

 private:
  ClusterServer(std::string secret, Clock& clock, std::uint32_t partitions)
      : secret_(std::move(secret)), clock_(clock), partitions_(partitions) {}
  void handle(const std::shared_ptr<http::Request>& request, const http::Responder& responder);
  void took(PartitionHost& host, v1::ClusterRelay& item);

  const std::string secret_;
  Clock& clock_;
  const std::uint32_t partitions_;
  Heads heads_;
  std::atomic<TokenRelay*> tokens_{nullptr};
  std::atomic<Standbys*> standbys_{nullptr};
  OnHandover handover_;  // set before host_
  std::atomic<PartitionHost*> host_{nullptr};
  Worker slow_;  // for what reads the log
  http::Router router_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace soma::runtime
