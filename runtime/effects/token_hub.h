// Tokens of running calls: every subscriber gets each once, in order, whenever it comes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace soma::runtime {

// Thread-safe. Listeners run under the call's lock, on the publisher's or subscriber's thread: they
// must not block. A listener may end its own subscription. A call is kept while it runs or somebody
// listens; a subscription outlives failed attempts and gets the tokens of the next one.
class TokenHub {
 public:
  struct Token {
    std::uint32_t attempt = 1;
    std::uint32_t index = 0;
    std::string text;
  };
  using Listener = std::function<void(const Token&)>;
  using Subscription = std::shared_ptr<void>;

  // What is over these is not buffered: it reaches those who listen now, and all with the answer.
  static constexpr std::size_t kMaxTokensPerCall = 65536;
  static constexpr std::size_t kMaxBytesPerCall = 1 << 20;

  TokenHub();
  ~TokenHub();
  TokenHub(const TokenHub&) = delete;
  TokenHub& operator=(const TokenHub&) = delete;

  // Earlier attempts' tokens go. An attempt before the one that runs changes nothing.
  void begin(const std::string& call_id, std::uint32_t attempt);
  // Dropped unless `attempt` is the one that runs and `index` the next in it.
  void publish(const std::string& call_id, std::uint32_t attempt, std::uint32_t index,
               const std::string& text);
  // Nobody listens: forgotten at once. Nothing, unless `attempt` is the one that runs.
  void finish(const std::string& call_id, std::uint32_t attempt);
  // First what has come so far of the attempt that runs, then what comes, until the subscription is
  // destroyed. It may be destroyed after the hub. Wherever the call runs, where `elsewhere` is set.
  [[nodiscard]] Subscription subscribe(const std::string& call_id, Listener listener);
  // The same of a call that runs in this process.
  [[nodiscard]] Subscription subscribe_here(const std::string& call_id, Listener listener);

  // For several processes. Called for each subscription, what it returns is kept as long as that:
  // meanwhile tokens of other processes come by take(). Set before the first subscription.
  using Elsewhere = std::function<Subscription(const std::string& call_id)>;
  void set_elsewhere(Elsewhere elsewhere) { elsewhere_ = std::move(elsewhere); }
  // A token of a call that runs in another process; dropped where nobody listens, or out of turn.
  void take(const std::string& call_id, const Token& token);

  std::size_t calls() const;  // running or listened to

 private:
  struct Call;
  struct Table;
  std::shared_ptr<Table> table_;
  Elsewhere elsewhere_;
};

}  // namespace soma::runtime
