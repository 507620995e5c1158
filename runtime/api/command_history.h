// Answers that need no record of their own: the command that led to them stands in its actor's
// history for good, and makes the same again (ADR 0026).
#pragma once

#include <atomic>

#include "runtime/api/submit.h"

namespace soma::runtime::api {

// Partitions know the ids of applied commands for HostLimits::dedupe_keep_ms (25 h); an hour less,
// as the clocks of two nodes may differ.
inline constexpr std::int64_t kCommandsKnownMs = 24LL * 3600 * 1000;
static_assert(kCommandsKnownMs + 3600'000 <= HostLimits{}.dedupe_keep_ms);

// A thread of its own for look-ups of old commands, each of which may take seconds. Thread-safe.
class CommandLookUps {
 public:
  static constexpr std::size_t kMaxWaiting = 4096;  // more than the inbox has under way
  using Task = std::function<void(const std::atomic<bool>& stopping)>;

  ~CommandLookUps() { stop(); }
  // False: too many wait, or it is stopping; the task is gone.
  bool post(Task task);
  void stop();  // what waits runs, and is told; then joins

 private:
  std::atomic<std::size_t> waiting_{0};
  std::atomic<bool> stopping_{false};
  Worker worker_{"soma-look-ups"};
};

// As submit(), for an `answer` that looks at nothing but what was accepted and the request. Where
// it says `in_history` of a success, the command led to events, and the answer is not recorded
// beside them (keys.h). A command whose key was claimed so long ago that its partition may have
// forgotten it is looked for in the actor's history first, and never applied twice: where that
// fails the answer is a 503, whatever the reason.
void submit_settled(const Node& node, const RequestPtr& request, const http::Responder& responder,
                    Submission submission, std::function<http::Response(const Accepted&)> answer);

// What the command (its actor, id and request hash count) was answered, as recorded; nothing where
// it led to no event of the actor. Blocking, and reads the history from its beginning: for what is
// rare. kCancelled once `stopping`; else fails as Host::history and the log do.
Result<std::optional<Accepted>> find_in_history(const Node& node, const Submission& command,
                                                const std::atomic<bool>& stopping);

}  // namespace soma::runtime::api
