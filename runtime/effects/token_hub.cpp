// Buffers per call.
#include "runtime/effects/token_hub.h"

namespace soma::runtime {

std::shared_ptr<TokenHub::Call> TokenHub::call(const std::string& call_id) {
  std::lock_guard lock(mutex_);
  auto& c = calls_[call_id];
  if (!c) c = std::make_shared<Call>();
  return c;
}

void TokenHub::begin(const std::string& call_id, std::uint32_t attempt) {
  auto c = call(call_id);
  std::lock_guard lock(c->mutex);
  c->attempt = attempt;
  c->tokens.clear();
}

void TokenHub::publish(const std::string& call_id, std::uint32_t attempt, std::uint32_t index, const std::string& text) {
  auto c = call(call_id);
  std::lock_guard lock(c->mutex);
  if (attempt != c->attempt || c->tokens.size() >= kMaxTokensPerCall) return;
  c->tokens.push_back({attempt, index, text});
  for (auto& [id, listener] : c->listeners) listener(c->tokens.back());
}

void TokenHub::finish(const std::string& call_id) {
  std::lock_guard lock(mutex_);
  calls_.erase(call_id);   // those who listen keep what they have; the answer is in the log by now
}

TokenHub::Subscription TokenHub::subscribe(const std::string& call_id, Listener listener) {
  auto c = call(call_id);
  std::lock_guard lock(c->mutex);
  for (const auto& token : c->tokens) listener(token);
  const std::uint64_t id = c->next++;
  c->listeners[id] = std::move(listener);
  return Subscription(nullptr, [c, id](void*) {
    std::lock_guard inner(c->mutex);
    c->listeners.erase(id);
  });
}

}  // namespace soma::runtime
