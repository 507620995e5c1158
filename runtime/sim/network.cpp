// A call is lost on its way there or back, waits for a paused node, or is refused by a dead one's
// machine.
#include "runtime/sim/network.h"

#include <utility>

namespace soma::sim {

namespace {

using Reply = runtime::Peers::Reply;

constexpr std::int64_t kCallUs = 2'500'000;          // then the caller knows nothing
constexpr std::uint32_t kSilentlyGone = 200'000;     // per million calls to nobody: no refusal
constexpr std::int64_t kFastUs = 20, kSlowUs = 800;  // one way

class Wire final : public runtime::Peers {
 public:
  Wire(Network& network, std::shared_ptr<Life> life) : network_(network), life_(std::move(life)) {}
  GiveUp call(const std::string& address, v1::ClusterCall call, OnReply done) override {
    if (!life_->enter()) return [] {};
    return network_.call(life_, address, std::move(call), std::move(done));
  }
  void relay(const std::string& address, v1::ClusterRelay item) override {
    if (life_->enter()) network_.relay(life_, address, std::move(item));
  }

 private:
  Network& network_;
  std::shared_ptr<Life> life_;
};

}  // namespace

struct Network::Call {
  std::shared_ptr<Life> from;
  std::string address;
  v1::ClusterCall message;
  runtime::Peers::OnReply done;
  bool ended = false;
};

std::unique_ptr<runtime::Peers> make_peers(Network& network, std::shared_ptr<Life> life) {
  return std::make_unique<Wire>(network, std::move(life));
}

void Network::attach(const std::string& address, Station station) {
  stations_[address] = std::move(station);
}

Network::Station* Network::station(const std::string& address) {
  const auto it = stations_.find(address);
  return it == stations_.end() || !it->second.life->alive ? nullptr : &it->second;
}

std::vector<std::string> Network::addresses_but(const std::string& own) const {
  std::vector<std::string> out;
  for (const auto& [address, station] : stations_)
    if (address != own) out.push_back(address);
  return out;
}

std::int64_t Network::travel() {
  if (ground_.faults.draw(Fault::kClogged)) return rng_.between(200'000, 3'000'000);
  return rng_.between(kFastUs, kSlowUs);
}

runtime::Peers::GiveUp Network::call(std::shared_ptr<Life> from, const std::string& address,
                                     v1::ClusterCall message, runtime::Peers::OnReply done) {
  const auto call =
      std::make_shared<Call>(Call{std::move(from), address, std::move(message), std::move(done)});
  ground_.time.after(kCallUs, [this, call] { reply(call, {}); });
  auto give_up = [call] { call->ended = true; };
  if (call->from->cut_off(call->from->unheard_until_us)) return give_up;
  if (ground_.faults.draw(Fault::kLostCall)) return give_up;
  ground_.time.after(travel(), [this, call] { arrive(call); });
  return give_up;
}

// What comes after its caller has given up, or died, is not looked at: the connection was closed.
void Network::arrive(const std::shared_ptr<Call>& call) {
  if (call->ended || !call->from->alive) return;
  Station* there = station(call->address);
  if (!there) {
    if (!rng_.chance(kSilentlyGone)) reply(call, {Reply::Kind::kNotDone, {}});
    return;
  }
  Life& life = *there->life;
  if (life.cut_off(life.unreachable_until_us)) return;
  if (life.paused()) return ground_.time.at(life.paused_until_us, [this, call] { arrive(call); });
  there->call(call->message, [this, call, life = there->life](v1::ClusterAnswer answer) {
    if (!life->enter() || life->cut_off(life->unheard_until_us)) return;
    if (ground_.faults.draw(Fault::kLostReply)) return;
    ground_.time.after(travel(), [this, call, answer = std::move(answer)] {
      if (call->from->cut_off(call->from->unreachable_until_us)) return;
      reply(call, {Reply::Kind::kAnswered, answer});
    });
  });
}

void Network::reply(const std::shared_ptr<Call>& call, Reply reply) {
  if (call->ended || !call->from->alive) return;
  if (call->from->paused())
    return ground_.time.at(call->from->paused_until_us,
                           [this, call, reply = std::move(reply)] { this->reply(call, reply); });
  call->ended = true;
  std::exchange(call->done, nullptr)(std::move(reply));
}

void Network::relay(const std::shared_ptr<Life>& from, const std::string& address,
                    v1::ClusterRelay item) {
  if (from->cut_off(from->unheard_until_us)) return;
  if (ground_.faults.draw(Fault::kLostRelay)) return;
  const int copies = ground_.faults.draw(Fault::kDoubleRelay) ? 2 : 1;
  for (int i = 0; i < copies; ++i)
    ground_.time.after(travel(), [this, address, item] { deliver(address, item); });
}

void Network::deliver(const std::string& address, const v1::ClusterRelay& item) {
  Station* there = station(address);
  if (!there || there->life->cut_off(there->life->unreachable_until_us)) return;
  if (there->life->paused())
    return ground_.time.at(there->life->paused_until_us,
                           [this, address, item] { deliver(address, item); });
  there->relay(item);
}

}  // namespace soma::sim
