// Calls between the nodes of a simulated cluster: late, lost, or answered to nobody.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cluster/answers.h"
#include "runtime/cluster/peers.h"
#include "runtime/sim/life.h"

namespace soma::sim {

// One for all processes; outlives them. What is on its way when a process dies comes to nobody.
class Network {
 public:
  explicit Network(Ground& ground) : ground_(ground), rng_(ground.seed, "network") {}

  // Who listens at an address.
  struct Station {
    std::shared_ptr<Life> life;
    std::function<void(v1::ClusterCall, runtime::OnAnswer)> call;
    std::function<void(v1::ClusterRelay)> relay;
  };
  void attach(const std::string& address, Station station);
  void detach(const std::string& address) { stations_.erase(address); }
  std::vector<std::string> addresses_but(const std::string& own) const;

  runtime::Peers::GiveUp call(std::shared_ptr<Life> from, const std::string& address,
                              v1::ClusterCall call, runtime::Peers::OnReply done);
  // Each by itself: one may overtake another, as on a connection that is opened anew.
  void relay(const std::shared_ptr<Life>& from, const std::string& address, v1::ClusterRelay item);

 private:
  struct Call;
  Station* station(const std::string& address);
  std::int64_t travel();
  void arrive(const std::shared_ptr<Call>& call);
  void deliver(const std::string& address, const v1::ClusterRelay& item);
  void reply(const std::shared_ptr<Call>& call, runtime::Peers::Reply reply);

  Ground& ground_;
  Rng rng_;
  std::map<std::string, Station> stations_;
};

// One process's end of it.
std::unique_ptr<runtime::Peers> make_peers(Network& network, std::shared_ptr<Life> life);

}  // namespace soma::sim
