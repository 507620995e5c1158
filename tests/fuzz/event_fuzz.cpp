// Fuzzes recorded events of every actor type, as bytes and as messages of the right shape: what
// parses folds without a throw, equally from a stored state, and has a public name and a view.
#include <cstdint>

#include "actors/actor_type.h"
#include "runtime/api/views.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/filler.h"

using namespace soma;
using namespace soma::actors;
using soma::fuzz::Bytes;
using soma::fuzz::check;

namespace {

void fold(const ActorType& type, Message& state, const Message& event) {
  const auto stored = fuzz::stored_copy(state);
  type.evolve(state, event);
  type.evolve(*stored, *fuzz::stored_copy(event));
  check(deterministic_bytes(state) == deterministic_bytes(*stored));
  (void)type.effects({"acme", std::string(type.name()), "a", {}}, state);
}

void show(const Catalog& catalog, const ActorType& type, const Message& event) {
  runtime::Host::HistoryEvent row;
  row.actor = {"acme", std::string(type.name()), "a", {}};
  row.event.set_type(type.event_type(event));
  row.event.set_payload(event.SerializeAsString());
  check(runtime::views::event(catalog, row).contains("data"));
}

}  // namespace

// Input: the type; how events come; then one payload, or words for some.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto catalog = standard_catalog();
  Bytes bytes(data, size);
  const auto types = catalog->all();
  const ActorType& type = *types[bytes.below(types.size())];
  const auto state = type.new_state();
  if (bytes.next() % 2 == 0) {
    const auto event = type.new_event();
    if (size < 3 || !event->ParseFromArray(data + 2, static_cast<int>(size - 2))) return 0;
    fold(type, *state, *event);
    show(*catalog, type, *event);
    return 0;
  }
  for (int n = 0; n < 24 && !bytes.empty(); ++n) {
    const auto event = type.new_event();
    fuzz::fill(*event, bytes);
    fold(type, *state, *event);
    show(*catalog, type, *event);
  }
  return 0;
}
