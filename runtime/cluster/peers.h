// Calls to other nodes of the cluster.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "runtime/effects/http_loop.h"
#include "runtime/host/ports.h"
#include "soma/v1/cluster.pb.h"

namespace soma::runtime {

inline constexpr char kClusterPath[] = "/internal/v1/call";
inline constexpr char kClusterHeader[] = "Soma-Cluster";  // HMAC-SHA256 of the body, in hex
inline constexpr std::size_t kClusterBodyBytes = 16 << 20;
inline constexpr std::int64_t kClusterCallMs = 2500;       // a call, from when it is sent
inline constexpr std::int64_t kClusterCallAgeMs = 60'000;  // clocks may differ by so much

// Between nodes both sides show a certificate of the same authorities. PEM files; all or none.
using ClusterTls = ClientTls;

std::string cluster_mac(const std::string& secret, std::string_view body);

// Thread-safe.
class Peers {
 public:
  struct Reply {
    enum class Kind : std::uint8_t {
      kAnswered,
      kNotDone,  // it was never sent, or the other node refused to look at it
      kUnknown
    };
    Kind kind = Kind::kUnknown;
    v1::ClusterAnswer answer;
  };
  using OnReply = std::function<void(Reply)>;
  // Ends a call that is under way, whose reply is then kUnknown: a node that has not begun with it
  // does not. Not to be kept longer than the Peers.
  using GiveUp = std::function<void()>;

  virtual ~Peers() = default;
  virtual GiveUp call(const std::string& address, v1::ClusterCall call, OnReply done) = 0;
  virtual void relay(const std::string& address, v1::ClusterRelay item) = 0;  // may be lost
};

// One POST of a signed message each. Answers come on the loop's thread.
class HttpPeers final : public Peers {
 public:
  HttpPeers(std::string node_id, std::string secret, ClusterTls tls, Clock& clock);
  GiveUp call(const std::string& address, v1::ClusterCall call, OnReply done) override;
  // In order, one batch under way at a time; what cannot be told is dropped.
  void relay(const std::string& address, v1::ClusterRelay item) override;
  void stop();

 private:
  struct Line {
    std::deque<v1::ClusterRelay> waiting;
    bool busy = false;
  };
  void send_relays(const std::string& address);

  const std::string node_id_, secret_;
  const bool tls_;
  Clock& clock_;
  std::atomic<std::uint64_t> calls_{0};
  std::mutex mutex_;
  std::map<std::string, Line> lines_;
  HttpLoop loop_;  // ends first
};

}  // namespace soma::runtime
