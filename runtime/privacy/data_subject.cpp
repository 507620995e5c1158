// By actor type: those whose data is not simply the caller's.
#include "runtime/privacy/data_subject.h"

#include "runtime/privacy/pieces.h"
#include "soma/v1/inference.pb.h"
#include "soma/v1/memory.pb.h"
#include "soma/v1/model.pb.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime::privacy {

namespace {

template <typename M>
M parsed(const std::string& bytes) {
  M out;
  out.ParseFromString(bytes);
  return out;
}

std::string of_session(const v1::SessionState& state, const std::string& bytes) {
  if (!state.user().empty()) return state.user();
  const auto command = parsed<v1::SessionCommand>(bytes);
  if (command.has_start_session()) return command.start_session().user();
  for (const auto& event : command.fork_session().events())
    if (event.has_session_started()) return event.session_started().user();
  return {};
}

std::string of_memory(const v1::MemoryState& state, const std::string& bytes) {
  if (!state.fact().user().empty()) return state.fact().user();
  return parsed<v1::MemoryCommand>(bytes).remember().fact().user();
}

std::string of_pool(const v1::ModelState& state, const std::string& bytes) {
  const auto command = parsed<v1::ModelCommand>(bytes);
  const auto it = state.running().find(command.effect_outcome().effect_id());
  return it == state.running().end() ? std::string() : it->second.request().user();
}

}  // namespace

std::string data_subject(const v1::ActorRef& actor, const google::protobuf::Message& state,
                         const std::string& command, const v1::Context& context) {
  std::string named;
  if (actor.type() == "session")
    named = of_session(static_cast<const v1::SessionState&>(state), command);
  else if (actor.type() == "memory")
    named = of_memory(static_cast<const v1::MemoryState&>(state), command);
  else if (actor.type() == "model")
    named = of_pool(static_cast<const v1::ModelState&>(state), command);
  else if (actor.type() == "inference")
    named = static_cast<const v1::InferenceState&>(state).request().user();
  if (is_person(named)) return named;
  return is_person(context.principal().subject()) ? context.principal().subject() : std::string();
}

}  // namespace soma::runtime::privacy
