// Each call is one POST of a signed message.
#include "runtime/cluster/peers.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "schemas/base/sha256.h"

namespace soma::runtime {

namespace {

constexpr std::size_t kMaxWaiting = 4096;  // calls to one node
constexpr std::size_t kMaxRelaysWaiting = 20'000;
constexpr std::size_t kBatchBytes = 4 << 20;
constexpr std::int64_t kConnectMs = 500, kHandshakeMs = 1000;

}  // namespace

std::string cluster_mac(const std::string& secret, std::string_view body) {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
            reinterpret_cast<const unsigned char*>(body.data()), body.size(), mac, &size))
    return {};
  return hex({reinterpret_cast<const char*>(mac), size});
}

HttpPeers::HttpPeers(std::string node_id, std::string secret, ClusterTls tls, Clock& clock)
    : node_id_(std::move(node_id)),
      secret_(std::move(secret)),
      tls_(!tls.cert_file.empty()),
      clock_(clock),
      loop_(kMaxWaiting, std::move(tls)) {}

void HttpPeers::stop() { loop_.stop(); }

Peers::GiveUp HttpPeers::call(const std::string& address, v1::ClusterCall message, OnReply done) {
  message.set_from_node(node_id_);
  message.set_sent_ms(clock_.now_ms());
  auto call = std::make_unique<HttpCall>();
  call->id = std::to_string(++calls_);
  call->lane = message.has_relays() ? address + " relays" : address;  // no one waits for those
  call->url = (tls_ ? "https://" : "http://") + address + kClusterPath;
  call->direct = true;
  call->body = message.SerializeAsString();
  call->headers = {"Content-Type: application/x-protobuf",
                   std::string(kClusterHeader) + ": " + cluster_mac(secret_, call->body)};
  call->connect_timeout_ms = kConnectMs + (tls_ ? kHandshakeMs : 0);
  call->idle_timeout_ms = call->total_timeout_ms = kClusterCallMs;
  call->max_body = kClusterBodyBytes;
  call->on_end = [done = std::move(done)](const HttpEnd& end) {
    using End = HttpEnd::Kind;
    Reply reply;
    if (end.kind == End::kComplete && end.status == 200) {
      if (reply.answer.ParseFromString(end.body)) reply.kind = Reply::Kind::kAnswered;
    } else if (end.kind == End::kComplete || !end.sent) {
      reply.kind = Reply::Kind::kNotDone;
    }
    done(std::move(reply));
  };
  auto give_up = [this, id = call->id] { loop_.cancel(id); };
  loop_.start(std::move(call));
  return give_up;
}

void HttpPeers::relay(const std::string& address, v1::ClusterRelay item) {
  {
    std::lock_guard lock(mutex_);
    Line& line = lines_[address];
    if (line.waiting.size() >= kMaxRelaysWaiting) return;
    line.waiting.push_back(std::move(item));
    if (std::exchange(line.busy, true)) return;
  }
  send_relays(address);
}

void HttpPeers::send_relays(const std::string& address) {
  v1::ClusterCall call;
  {
    std::lock_guard lock(mutex_);
    Line& line = lines_[address];
    std::size_t bytes = 0;
    while (!line.waiting.empty() && bytes < kBatchBytes) {
      bytes += line.waiting.front().ByteSizeLong();
      *call.mutable_relays()->add_items() = std::move(line.waiting.front());
      line.waiting.pop_front();
    }
    if (!call.has_relays()) {
      line.busy = false;
      return;
    }
  }
  this->call(address, std::move(call), [this, address](const Reply& reply) {
    if (reply.kind == Reply::Kind::kAnswered) return send_relays(address);
    std::lock_guard lock(mutex_);  // its sources send again
    lines_[address].waiting.clear();
    lines_[address].busy = false;
  });
}

}  // namespace soma::runtime
