// Watches with a lease in one direction, tokens in the other.
#include "runtime/cluster/token_relay.h"

#include <utility>

namespace soma::runtime {

struct TokenRelay::Wanted {
  std::mutex mutex;
  std::map<std::string, std::size_t> calls;  // how many listen

  void add(const std::string& call) {
    std::lock_guard lock(mutex);
    ++calls[call];
  }
  void remove(const std::string& call) {
    std::lock_guard lock(mutex);
    if (auto it = calls.find(call); it != calls.end() && --it->second == 0) calls.erase(it);
  }
  std::vector<std::string> names() {
    std::lock_guard lock(mutex);
    std::vector<std::string> out;
    for (const auto& [call, listeners] : calls) out.push_back(call);
    return out;
  }
};

TokenRelay::TokenRelay(TokenHub& hub, Clock& clock, std::string address, Tell tell, Others others)
    : hub_(hub),
      clock_(clock),
      address_(std::move(address)),
      tell_(std::move(tell)),
      others_(std::move(others)),
      wanted_(std::make_shared<Wanted>()) {
  hub_.set_elsewhere([this](const std::string& call) {
    wanted_->add(call);
    ask({call});
    return TokenHub::Subscription(nullptr,
                                  [wanted = wanted_, call](void*) { wanted->remove(call); });
  });
}

TokenRelay::~TokenRelay() { hub_.set_elsewhere({}); }

void TokenRelay::ask(const std::vector<std::string>& calls) const {
  if (calls.empty()) return;
  for (const auto& other : others_()) {
    v1::ClusterRelay item;
    item.mutable_watch()->set_address(address_);
    for (const auto& call : calls) item.mutable_watch()->add_calls(call);
    tell_(other, std::move(item));
  }
}

void TokenRelay::took(const v1::ClusterWatch& watch) {
  for (const auto& call : watch.calls()) {
    const auto key = std::make_pair(watch.address(), call);
    {
      std::lock_guard lock(mutex_);
      const auto it = watches_.find(key);
      if (it == watches_.end() && watches_.size() >= kMaxWatches) continue;
      watches_[key].until_ms = clock_.steady_ms() + kForgetMs;
      if (it != watches_.end()) continue;
    }
    // Not under the lock: what has come so far is told at once.
    auto subscription = hub_.subscribe_here(
        call, [tell = tell_, address = watch.address(), call](const TokenHub::Token& t) {
          v1::ClusterRelay item;
          item.mutable_token()->set_call(call);
          item.mutable_token()->set_attempt(t.attempt);
          item.mutable_token()->set_index(t.index);
          item.mutable_token()->set_text(t.text);
          tell(address, std::move(item));
        });
    std::lock_guard lock(mutex_);
    if (auto it = watches_.find(key); it != watches_.end())
      it->second.subscription.swap(subscription);
  }
}

void TokenRelay::took(const v1::ClusterToken& token) {
  hub_.take(token.call(), {token.attempt(), token.index(), token.text()});
}

void TokenRelay::tick() {
  const std::int64_t now = clock_.steady_ms();
  std::vector<TokenHub::Subscription> forgotten;  // ended without the lock
  {
    std::lock_guard lock(mutex_);
    for (auto it = watches_.begin(); it != watches_.end();) {
      if (it->second.until_ms > now) {
        ++it;
        continue;
      }
      forgotten.push_back(std::move(it->second.subscription));
      it = watches_.erase(it);
    }
    if (now - asked_ms_ < kRenewMs) return;
    asked_ms_ = now;
  }
  ask(wanted_->names());
}

}  // namespace soma::runtime
