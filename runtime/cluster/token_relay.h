// Tokens between nodes: those of calls that run elsewhere for the streams here, and the other way.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/effects/token_hub.h"
#include "runtime/host/ports.h"
#include "soma/v1/cluster.pb.h"

namespace soma::runtime {

// Where a call runs is not known to those who listen, so all other nodes are asked, and again every
// few seconds while somebody listens; whoever is not asked again forgets. Thread-safe. May lose
// tokens, never order: what is missing comes with the recorded answer.
class TokenRelay {
 public:
  static constexpr std::int64_t kRenewMs = 5000, kForgetMs = 15'000;
  static constexpr std::size_t kMaxWatches = 10'000;  // of other nodes; more are not heeded

  using Tell = std::function<void(const std::string& address, v1::ClusterRelay item)>;
  using Others = std::function<std::vector<std::string>()>;  // addresses of the other nodes
  // The hub outlives this; `address`: where the others' tokens are to be sent.
  TokenRelay(TokenHub& hub, Clock& clock, std::string address, Tell tell, Others others);
  ~TokenRelay();

  void took(const v1::ClusterWatch& watch);
  void took(const v1::ClusterToken& token);
  void tick();  // now and then: asks again, forgets

 private:
  struct Wanted;  // here; outlives the relay with the last subscription
  struct Watch {
    TokenHub::Subscription subscription;
    std::int64_t until_ms = 0;
  };
  void ask(const std::vector<std::string>& calls) const;

  TokenHub& hub_;
  Clock& clock_;
  const std::string address_;
  const Tell tell_;
  const Others others_;
  std::shared_ptr<Wanted> wanted_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Watch> watches_;  // by address and call
  std::int64_t asked_ms_ = 0;
};

}  // namespace soma::runtime
