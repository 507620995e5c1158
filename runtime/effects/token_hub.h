// Tokens of running calls: every subscriber gets each once, in order, whenever it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace soma::runtime {

// Thread-safe. Listeners run under the call's lock, on the publisher's or subscriber's thread: they must not block.
class TokenHub {
 public:
  struct Token {
    std::uint32_t attempt = 1;
    std::uint32_t index = 0;
    std::string text;
  };
  using Listener = std::function<void(const Token&)>;
  using Subscription = std::shared_ptr<void>;

  static constexpr std::size_t kMaxTokensPerCall = 65536;

  void begin(const std::string& call_id, std::uint32_t attempt);   // earlier attempts' tokens go
  void publish(const std::string& call_id, std::uint32_t attempt, std::uint32_t index, const std::string& text);
  void finish(const std::string& call_id);                         // no subscriber: forgotten at once
  // First what has come so far, then what comes, until the subscription is destroyed.
  [[nodiscard]] Subscription subscribe(const std::string& call_id, Listener listener);

 private:
  struct Call {
    std::mutex mutex;
    std::uint32_t attempt = 1;
    std::vector<Token> tokens;
    std::map<std::uint64_t, Listener> listeners;
    std::uint64_t next = 1;
  };
  std::shared_ptr<Call> call(const std::string& call_id);
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Call>> calls_;
};

}  // namespace soma::runtime
