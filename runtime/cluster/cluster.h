// This node as one of several: what it owns, and how it reaches what the others own.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/cluster/cluster_host.h"
#include "runtime/cluster/ownership.h"
#include "runtime/cluster/server.h"
#include "runtime/memory/journal_follower.h"

namespace soma::runtime {

struct ClusterOptions {
  std::string node_id;
  std::string listen;     // for the other nodes: HOST:PORT
  std::string advertise;  // where they find it; empty: as bound
  std::string secret;     // the same on each node
  std::int64_t session_timeout_ms = 6000;
  std::int64_t answer_ms = 11'000;        // of ClusterHost::Parts
  ClusterTls tls = {};                    // on each node, or on none
  std::size_t standbys = 1;               // other nodes that keep themselves warm for a partition
  std::uint64_t acceptable_lag = 10'000;  // records; a node with more takes no partitions yet
  Metrics* metrics = nullptr;             // null: none
};

// Owned by the node; made before its host, closed before that goes.
class Cluster {
 public:
  static Result<std::unique_ptr<Cluster>> start(ClusterOptions options, events::Log& log,
                                                const actors::Catalog& catalog, Clock& clock);
  ~Cluster();
  const std::string& address() const { return address_; }     // for the host's claims
  HostParts::Shared shared() { return ownership_.shared(); }  // for the host
  // From now on other nodes are answered, and the journal is followed. The host for all routes.
  Host& serve(PartitionHost& local, TokenHub& tokens);
  // What this node tells others of the heads that it keeps; before serve().
  void tells_heads(ClusterServer::Heads heads) { server_->tells_heads(std::move(heads)); }
  // What the other nodes that own partitions keep of a tenant's heads. Who does not answer within
  // kHeadsWaitMs is left out. Blocking; off the nodes' threads.
  std::vector<std::string> heads_elsewhere(const std::string& tenant);
  static constexpr std::int64_t kHeadsWaitMs = 2000;
  using Join =
      std::function<Result<std::unique_ptr<events::Membership>>(events::Membership::OnChange)>;
  using Look = std::function<Result<events::GroupView>()>;
  // At once, or when this node is warm (Standbys::join).
  Status join(Join join, Look look);
  std::vector<Standbys::Row> standbys() const { return standbys_->rows(); }
  // Each partition is served here or claimed by another node, as far as the journal says.
  bool settled() const;
  std::uint64_t followed() const { return follower_ ? follower_->progress().taken : 0; }  // records
  // As far as it says.
  std::set<std::string> owners() const { return ownership_.directory().nodes(); }
  Status health() { return ownership_.health(); }
  bool leave(std::int64_t timeout_ms);  // gives all away; true when the group knows in time
  void give_up();  // who waits for an owner, here or elsewhere, is told that the node stops
  void close();

 private:
  Cluster(ClusterOptions options, events::Log& log, const actors::Catalog& catalog, Clock& clock);
  Status join_now(const Join& join);
  void reconcile_later();

  const ClusterOptions options_;
  events::Log& log_;
  const actors::Catalog& catalog_;
  Clock& clock_;
  std::string address_;
  std::unique_ptr<HttpPeers> peers_;
  Ownership ownership_;
  std::unique_ptr<TokenRelay> tokens_;
  std::unique_ptr<Standbys> standbys_;
  Join join_;
  Look look_;
  std::unique_ptr<ClusterServer> server_;
  PartitionHost* local_ = nullptr;
  std::unique_ptr<ClusterHost> host_;
  std::unique_ptr<JournalFollower> follower_;
  struct Life {
    std::mutex mutex;
    Cluster* cluster;
  };
  std::shared_ptr<Life> life_;  // for the clock
};

}  // namespace soma::runtime
