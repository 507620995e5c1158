// Decide, evolve at once, record what was decided.
#include "runtime/host/entity.h"

#include "events/frames.h"
#include "schemas/base/planted.h"
#include "schemas/base/sha256.h"

namespace soma::runtime {

namespace {
// What a single entry may take; a frame holds at least one.
constexpr std::size_t kMaxEntryBytes = events::kMaxRecordBytes - 16 * 1024;
constexpr std::size_t kMostSealingTakes = 16;

// By how much the entry grows when it is stored; measured, as it depends on every value.
std::size_t sealing_takes(const events::Sealer& sealer, const v1::Entry& decided,
                          const v1::Context& context, const std::string& command,
                          const std::vector<actors::OutSend>& sends) {
  v1::Entry whole = decided;
  *whole.mutable_context() = context;
  whole.set_command(command);
  for (const auto& send : sends) {
    auto* s = whole.add_sends();
    *s->mutable_to() = actors::to_ref(send.to);
    s->set_command(send.command);
  }
  std::string bytes = whole.SerializeAsString();
  const std::size_t before = bytes.size();
  if (!sealer.seal(whole, bytes)) return 0;  // the writer will meet and tell the same
  return bytes.size() - std::min(before, bytes.size());
}
}  // namespace

std::string event_id(const ActorKey& actor, Sequence sequence) {
  return "evt_" + sha256_hex(to_string(actor) + "#" + std::to_string(sequence.value)).substr(0, 24);
}

Entity::Entity(ActorKey key, const actors::ActorType& type)
    : key_(std::move(key)), type_(type), state_(type.new_state()) {}

Decided Entity::decide(v1::Context& context, std::string& command, const events::Sealer* sealer) {
  Decided out;
  out.sequence = sequence_;
  if (broken) {
    out.thrown = problem;
    return out;
  }
  if (!poison_.empty()) {  // what came behind in the same round keeps its place
    out.thrown = "an earlier command failed: " + poison_;
    return out;
  }
  auto parsed = type_.new_command();
  if (!parsed->ParseFromString(command)) {
    out.rejection = {Code::kInvalidArgument,
                     "the command does not parse as a " + parsed->GetTypeName(), "command"};
    return out;
  }
  if (sealer && !sealer->personal(type_.name())) sealer = nullptr;
  if (sealer) sealer->attribute(actors::to_ref(key_), *state_, command, context);
  Result<actors::ErasedDecision> decision;
  try {
    decision = type_.decide(key_, *state_, *parsed, context);
  } catch (const std::exception& e) {
    poison_ = e.what();
    out.thrown = poison_;
    return out;
  }
  if (!decision) {
    out.rejection = decision.error();
    return out;
  }
  auto entry = std::make_unique<v1::Entry>();
  *entry->mutable_actor() = actors::to_ref(key_);
  entry->set_reply(std::move(decision->reply));
  Sequence next = sequence_;
  for (const auto& event : decision->events) {
    next = next.next();
    auto* recorded = entry->add_events();
    recorded->set_event_id(event_id(key_, next));
    recorded->set_sequence(next.value);
    recorded->set_type(type_.event_type(*event));
    recorded->set_schema(1);
    recorded->set_payload(actors::deterministic_bytes(*event));
  }
  std::size_t size = entry->ByteSizeLong() + context.ByteSizeLong() + command.size() + 64;
  for (const auto& send : decision->sends) size += send.command.size() + 256;
  // Sealing adds to each value; in the worst case, of many tiny ones, it takes several times as
  // much.
  if (sealer && size > kMaxEntryBytes / kMostSealingTakes)
    size += sealing_takes(*sealer, *entry, context, command, decision->sends);
  if (size > kMaxEntryBytes) {  // before evolve, so nothing is half done
    out.rejection = {Code::kTooLarge,
                     "the command and its events take " + std::to_string(size) +
                         " bytes; at most " + std::to_string(kMaxEntryBytes),
                     "body"};
    return out;
  }
  for (const auto& event : decision->events) type_.evolve(*state_, *event);
  entry->mutable_context()->Swap(&context);
  entry->set_command(std::move(command));
  sequence_ = next;
  out.sequence = next;
  out.entry = std::move(entry);
  out.sends = std::move(decision->sends);
  if (out.entry->events_size() > 0) out.effects = type_.effects(key_, *state_);
  return out;
}

Status Entity::apply(const v1::RecordedEvent& event) {
  if (event.sequence() <= sequence_.value) return {};  // the snapshot already holds it
  if (event.sequence() != sequence_.value + 1)
    return fail(Code::kCorrupt, to_string(key_) + ": event " + std::to_string(event.sequence()) +
                                    " follows " + std::to_string(sequence_.value));
  auto parsed = type_.new_event();
  if (!parsed->ParseFromString(event.payload()))
    return fail(Code::kCorrupt, to_string(key_) + ": event " + std::to_string(event.sequence()) +
                                    " does not parse");
  type_.evolve(*state_, *parsed);
  sequence_ = sequence_.next();
  return {};
}

Status Entity::restore(Sequence sequence, const std::string& state) {
  if (!state_->ParseFromString(state))
    return fail(Code::kCorrupt, to_string(key_) + ": snapshot does not parse");
  sequence_ = sequence;
  saved = sequence;
  if (planted(Bug::kSequenceRepeats)) sequence_ = Sequence{sequence.value - 1};
  return {};
}

}  // namespace soma::runtime
