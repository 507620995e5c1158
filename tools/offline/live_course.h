// How a session would have gone on: its own deciders, what it asks for answered for real.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "actors/decider.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/model.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::cli {

// What the session wished of the outside so far, and what it was told.
struct LiveReport {
  struct Call {
    std::uint32_t turn = 0, attempt = 0;
    std::string asked, model, provider;  // asked for; as the provider names it
    v1::TokenUsage usage;
    std::int64_t latency_ms = 0;
    std::string finish_reason;  // "stop" is an answer
    std::string error;          // code; empty: it ended properly
  };
  struct Refused {
    std::string command, message;
  };
  std::vector<Call> calls;  // each one went out
  std::vector<std::string> events;
  std::vector<Refused> refused;  // recorded requests that do not apply on this course
  std::int64_t tokens_used = 0;  // of a call that broke off: all that it may have taken
  std::uint32_t recalls_unknown = 0;
  bool budget_ended = false;  // what came next did not fit into the budget
  Error failure;              // of the last call, where it ended a turn
  bool failed = false;
};

// Owns the session's state from where it parted. The tenant's budget is not asked: `budget_tokens`
// stands in its place, and each call must fit into what is left, by the estimate that sessions
// reserve by: a third of the prompt's bytes, and the most that the answer may have. Recalls give
// what the record gave for the same words, else nothing. A tool call gives what the record has for
// the same tool and arguments; where it has nothing the course ends waiting, its timer unrung.
// Memories are not kept, approvals not given. Retries and fallback models are those of the model
// pool's decider. Not thread-safe.
class LiveCourse {
 public:
  using Ask = std::function<Result<v1::ModelAnswer>(const v1::ModelRequest&)>;
  using Recalls = std::map<std::string, std::string>;  // request to result, serialized
  using Results = std::map<std::pair<std::string, std::string>, v1::SubmitToolResult>;
  struct Record {
    Recalls recalls;
    Results results;  // of tool calls, by tool and arguments
  };
  LiveCourse(ActorKey session, v1::SessionState state, std::int64_t budget_tokens, Record record,
             Ask ask);

  // The state's own wishes, and these sends, made under this context; until it waits for nobody
  // but people.
  void go_on(std::vector<actors::OutSend> sends, const v1::Context& context);
  // A recorded request of a client, then as above.
  void tell(const v1::SessionCommand& command, const v1::Context& context);
  bool ended() const { return report_.budget_ended || report_.failed; }

  const v1::SessionState& state() const { return state_; }
  const LiveReport& report() const { return report_; }

 private:
  std::int64_t now_ms() const;  // of the course: the record's time, going on from there
  v1::Context next_context();
  void begin(const v1::Context& context);
  void decide(const v1::SessionCommand& command, const v1::Context& context);
  void settle();
  void deliver(const actors::OutSend& send);
  void reserve(const v1::ReserveBudget& wanted);
  bool recall();
  bool give_result();
  void pool(const ActorKey& key, const v1::ModelCommand& command);
  bool call_models();
  Result<v1::ModelAnswer> call(const actors::Effect& effect);
  Result<v1::ModelAnswer> over_budget(std::int64_t wanted);
  std::int64_t left() const { return budget_ - report_.tokens_used; }

  const ActorKey key_;
  v1::SessionState state_;
  const std::int64_t budget_;
  const Record record_;
  const Ask ask_;
  std::map<std::string, std::pair<ActorKey, v1::ModelState>> pools_;
  std::deque<actors::OutSend> sends_;
  v1::Context base_;
  std::int64_t base_steady_ms_ = 0;
  std::uint64_t commands_ = 0;
  LiveReport report_;
};

}  // namespace soma::cli
