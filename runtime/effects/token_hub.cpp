// Buffers per call. Lock order: a call's lock, then the table's; never the other way round.
#include "runtime/effects/token_hub.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace soma::runtime {

struct TokenHub::Call {
  struct Entry {
    Listener listener;
    bool active = true;
  };
  std::recursive_mutex mutex;  // a listener may come back to end its subscription
  bool gone = false;           // no longer in the table
  bool running = false;
  std::uint32_t attempt = 0;
  std::uint32_t next_index = 0;
  std::size_t bytes = 0;
  std::vector<Token> tokens;
  std::vector<std::shared_ptr<Entry>> listeners;
  int telling = 0;  // depth of loops over `listeners`

  void restart(std::uint32_t as_attempt) {
    attempt = as_attempt;
    next_index = 0;
    bytes = 0;
    tokens.clear();
  }
  void add(const Token& token) {
    ++next_index;
    // Only a gapless beginning is worth keeping: once over the limit, nothing more is.
    if (tokens.size() == token.index && token.index < kMaxTokensPerCall &&
        bytes + token.text.size() <= kMaxBytesPerCall) {
      bytes += token.text.size();
      tokens.push_back(token);
    }
    tell(token);
  }
  void tell(const Token& token) {
    ++telling;
    const std::size_t count = listeners.size();
    for (std::size_t i = 0; i < count; ++i)
      if (auto entry = listeners[i]; entry->active) entry->listener(token);
    --telling;
    tidy();
  }
  void tidy() {
    if (telling == 0) std::erase_if(listeners, [](const auto& e) { return !e->active; });
  }
  bool unused() const {
    return !running && std::none_of(listeners.begin(), listeners.end(),
                                    [](const auto& e) { return e->active; });
  }
};

struct TokenHub::Table {
  mutable std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<Call>> calls;

  std::shared_ptr<Call> find(const std::string& id) {
    std::lock_guard lock(mutex);
    auto it = calls.find(id);
    return it == calls.end() ? nullptr : it->second;
  }
  // Runs `use` under the lock of the call, which is made when it is not there.
  template <typename Use>
  void with(const std::string& id, Use use) {
    for (;;) {
      std::shared_ptr<Call> call;
      {
        std::lock_guard lock(mutex);
        auto& slot = calls[id];
        if (!slot) slot = std::make_shared<Call>();
        call = slot;
      }
      std::lock_guard lock(call->mutex);
      if (call->gone) continue;  // forgotten in between: once more
      return use(call);
    }
  }
  // Under the call's lock.
  void forget_if_unused(const std::string& id, Call& call) {
    if (call.gone || !call.unused()) return;
    call.gone = true;
    std::lock_guard lock(mutex);
    calls.erase(id);
  }
};

TokenHub::TokenHub() : table_(std::make_shared<Table>()) {}
TokenHub::~TokenHub() = default;

void TokenHub::begin(const std::string& call_id, std::uint32_t attempt) {
  table_->with(call_id, [&](const std::shared_ptr<Call>& c) {
    if (c->running && attempt < c->attempt) return;
    c->running = true;
    c->restart(attempt);
  });
}

void TokenHub::publish(const std::string& call_id, std::uint32_t attempt, std::uint32_t index,
                       const std::string& text) {
  auto c = table_->find(call_id);
  if (!c) return;
  std::lock_guard lock(c->mutex);
  if (!c->running || attempt != c->attempt || index != c->next_index) return;
  c->add(Token{attempt, index, text});
}

void TokenHub::take(const std::string& call_id, const Token& token) {
  auto c = table_->find(call_id);
  if (!c) return;
  std::lock_guard lock(c->mutex);
  if (c->running || token.attempt < c->attempt) return;  // it runs here now, or has begun again
  if (token.attempt > c->attempt) c->restart(token.attempt);
  if (token.index == c->next_index) c->add(token);
}

void TokenHub::finish(const std::string& call_id, std::uint32_t attempt) {
  auto c = table_->find(call_id);
  if (!c) return;
  std::lock_guard lock(c->mutex);
  if (attempt != c->attempt) return;
  c->running = false;
  table_->forget_if_unused(call_id, *c);
}

TokenHub::Subscription TokenHub::subscribe(const std::string& call_id, Listener listener) {
  Subscription here = subscribe_here(call_id, std::move(listener));
  if (!elsewhere_) return here;
  Subscription there = elsewhere_(call_id);
  return Subscription(nullptr, [here, there](void*) {});
}

TokenHub::Subscription TokenHub::subscribe_here(const std::string& call_id, Listener listener) {
  auto entry = std::make_shared<Call::Entry>(Call::Entry{std::move(listener), true});
  std::shared_ptr<Call> call;
  table_->with(call_id, [&](const std::shared_ptr<Call>& c) {
    call = c;
    for (const auto& token : c->tokens) entry->listener(token);
    c->listeners.push_back(entry);
  });
  return Subscription(nullptr, [table = table_, call, entry, call_id](void*) {
    std::lock_guard lock(call->mutex);
    entry->active = false;
    call->tidy();
    table->forget_if_unused(call_id, *call);
  });
}

std::size_t TokenHub::calls() const {
  std::lock_guard lock(table_->mutex);
  return table_->calls.size();
}

}  // namespace soma::runtime
