// A fact's rules: remembered once, embedded in time, forgotten for good.
#include "actors/memory/memory.h"

#include <algorithm>

#include "actors/actor_type.h"

namespace soma::actors {

namespace {

using Decided = MemoryDecider::Decided;
constexpr std::size_t kMaxTextBytes = 64 * 1024;
constexpr std::uint32_t kMaxEmbedAttempts = 8;  // of what fails for good; see also effects()
constexpr std::uint32_t kBackOffDoublings = 6;  // of a second: beyond kMaxBackOffMs
constexpr std::int64_t kMaxBackOffMs = 60'000;

Decided reply_for(const v1::MemoryFact& fact, bool deduplicated, bool queued) {
  Decided d;
  d.reply.set_memory_id(fact.memory_id());
  d.reply.set_coord(fact.coord());
  d.reply.set_deduplicated(deduplicated);
  d.reply.set_queued(queued);
  return d;
}

Result<Decided> remember(const v1::MemoryState& state, const v1::Remember& command) {
  const auto& fact = command.fact();
  if (fact.text().empty())
    return fail(Code::kInvalidArgument, "text must not be empty", "body.text");
  if (fact.text().size() > kMaxTextBytes)
    return fail(Code::kInvalidArgument, "text is over 64 KiB", "body.text");
  if (!(fact.importance() >= 0 && fact.importance() <= 1))
    return fail(Code::kInvalidArgument, "importance must be 0 to 1", "body.importance");
  if (state.has_fact() && !state.forgotten() && state.fact().text() == fact.text() &&
      state.fact().payload_json() == fact.payload_json())
    return reply_for(state.fact(), true, !state.has_embedding());
  Decided d = reply_for(fact, false, !command.has_embedding());
  auto* remembered = d.events.emplace_back().mutable_memory_remembered();
  *remembered->mutable_fact() = fact;
  if (command.has_embedding()) *remembered->mutable_embedding() = command.embedding();
  return d;
}

Result<Decided> embedded(const v1::MemoryState& state, const v1::EffectOutcome& o,
                         const v1::Context& context) {
  Decided d = reply_for(state.fact(), false, !state.has_embedding());
  if (state.has_embedding() || state.forgotten() || o.attempt() != state.embed_attempts() + 1)
    return d;
  v1::EmbedResult result;
  if (o.has_result() && result.ParseFromString(o.result()) && result.embeddings_size() == 1) {
    *d.events.emplace_back().mutable_memory_embedded()->mutable_embedding() = result.embeddings(0);
    return d;
  }
  auto* failed = d.events.emplace_back().mutable_memory_embed_failed();
  *failed->mutable_failure() = o.failure();
  if (!o.has_failure()) {
    failed->mutable_failure()->set_code("internal");
    failed->mutable_failure()->set_message("the embedding's outcome could not be read");
    failed->mutable_failure()->set_retryable(true);
  }
  failed->set_attempt(o.attempt());
  failed->set_not_before_ms(
      context.now_ms() +
      std::min<std::int64_t>(kMaxBackOffMs,
                             1000LL << std::min(o.attempt() - 1, kBackOffDoublings)));
  failed->set_gave_up(o.attempt() >= kMaxEmbedAttempts);
  return d;
}

}  // namespace

ActorKey memory_key(const std::string& tenant, const std::string& memory_id) {
  return {tenant, "memory", memory_id, tenant};
}

Result<Decided> MemoryDecider::decide(const ActorKey&, const State& state, const Command& command,
                                      const v1::Context& context) {
  switch (command.kind_case()) {
    case Command::kRemember: {
      auto d = remember(state, command.remember());
      if (d) d->reply.set_trace_id(context.correlation_id());
      return d;
    }
    case Command::kForget: {
      if (!state.has_fact() || state.forgotten()) return fail(Code::kNotFound, "Memory not found");
      Decided d = reply_for(state.fact(), false, false);
      d.events.emplace_back().mutable_memory_forgotten()->set_reason(command.forget().reason());
      return d;
    }
    case Command::kEffectOutcome:
      return embedded(state, command.effect_outcome(), context);
    case Command::KIND_NOT_SET:
      break;
  }
  return fail(Code::kInvalidArgument, "command has no case", "command");
}

void MemoryDecider::evolve(State& s, const Event& e) {
  switch (e.kind_case()) {
    case Event::kMemoryRemembered:
      s.Clear();
      *s.mutable_fact() = e.memory_remembered().fact();
      if (e.memory_remembered().has_embedding())
        *s.mutable_embedding() = e.memory_remembered().embedding();
      return;
    case Event::kMemoryEmbedded:
      *s.mutable_embedding() = e.memory_embedded().embedding();
      s.clear_embed_error();
      return;
    case Event::kMemoryEmbedFailed:
      s.set_embed_attempts(e.memory_embed_failed().attempt());
      s.set_embed_not_before_ms(e.memory_embed_failed().not_before_ms());
      *s.mutable_embed_error() = e.memory_embed_failed().failure();
      s.set_embed_gave_up(e.memory_embed_failed().gave_up());
      return;
    case Event::kMemoryForgotten: {  // the text goes; that there was a fact stays
      const std::string id = s.fact().memory_id();
      s.Clear();
      s.mutable_fact()->set_memory_id(id);
      s.set_forgotten(true);
      return;
    }
    case Event::KIND_NOT_SET:
      return;
  }
}

std::vector<Effect> MemoryDecider::effects(const ActorKey& self, const State& s) {
  // `gave_up` says since the first build only that it failed eight times. What may pass is asked
  // for until it has: a memory that is queued waits for its provider, however long that is away.
  const bool over = s.embed_gave_up() && !s.embed_error().retryable();
  if (!s.has_fact() || s.forgotten() || s.has_embedding() || over) return {};
  v1::EmbedRequest request;
  request.add_texts(s.fact().text());
  return {{"embed:" + self.id + ":" + std::to_string(s.fact().created_ms()), "memory.embed",
           EffectClass::kIdempotent, s.embed_attempts() + 1, s.embed_not_before_ms(), 0,
           request.SerializeAsString()}};
}

std::string MemoryDecider::event_type(const Event& e) {
  switch (e.kind_case()) {
    case Event::kMemoryRemembered:
      return "memory.remembered";
    case Event::kMemoryEmbedded:
      return "memory.embedded";
    case Event::kMemoryEmbedFailed:
      return "memory.embed_failed";
    case Event::kMemoryForgotten:
      return "memory.forgotten";
    case Event::KIND_NOT_SET:
      break;
  }
  return {};
}

}  // namespace soma::actors
