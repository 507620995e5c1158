// Fuzzes sessions that are taken in from a file: text that nobody signed, lines signed as they are,
// and true exports of sessions made from commands, whole and edited.
#include <boost/json.hpp>
#include <cstdint>

#include "actors/actor_type.h"
#include "runtime/api/session_transfer.h"
#include "runtime/api/views.h"
#include "schemas/json/json_text.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/filler.h"

using namespace soma;
using namespace soma::runtime;
using soma::fuzz::Bytes;
using soma::fuzz::check;

namespace {

namespace json = boost::json;

// Made anew in each process, so that no input can hold a valid signature.
const std::vector<security::Key>& keys() {
  static const std::vector<security::Key> made{security::generate_ed25519().value()};
  return made;
}

const actors::Catalog& catalog() {
  static const auto made = actors::standard_catalog();
  return *made;
}

struct Made {
  std::string lines;
  v1::SessionState state;
  std::vector<std::string> events;
};

void take(Made& made, const actors::ActorType& type, const actors::Message& event) {
  type.evolve(made.state, event);
  made.events.push_back(actors::deterministic_bytes(event));
  Host::HistoryEvent row;
  row.actor = {"acme", "session", "s", {}};
  row.event.set_type(type.event_type(event));
  row.event.set_sequence(made.events.size());
  row.event.set_payload(made.events.back());
  made.lines += json_text(json::object{{"event", views::event(catalog(), row)}}) + "\n";
}

// A session as it would be recorded: decided, command by command.
Made made_of(Bytes& bytes) {
  const auto& type = *catalog().find("session");
  const ActorKey self{"acme", "session", "s", {}};
  Made made;
  for (int n = 0; n < 24 && !bytes.empty(); ++n) {
    const auto command = type.new_command();
    fuzz::fill(*command, bytes);
    v1::Context context;
    context.set_now_ms(1'700'000'000'000 + n);
    context.set_command_id("c" + std::to_string(n));
    context.mutable_principal()->set_tenant("acme");
    context.mutable_principal()->set_subject("ana");
    const auto decided = type.decide(self, made.state, *command, context);
    if (!decided) continue;
    for (const auto& event : decided->events) take(made, type, *event);
  }
  made.lines = json_text(json::object{{"session", views::session(made.state)}}) + "\n" + made.lines;
  return made;
}

std::string signed_lines(const std::string& lines, std::size_t events) {
  return lines + api::export_signature(keys()[0], "acme", "s", events, lines).value();
}

void whole_and_edited(Bytes& bytes, std::uint8_t edit) {
  const Made made = made_of(bytes);
  if (made.events.empty()) return;
  std::string text = signed_lines(made.lines, made.events.size());
  const auto read = api::read_export(text, keys());
  check(read && read->tenant == "acme" && read->session_id == "s");
  check(read->events.size() == made.events.size());
  for (std::size_t i = 0; i < made.events.size(); ++i)
    check(actors::deterministic_bytes(read->events[i]) == made.events[i]);
  text[edit % made.lines.size()] ^= 1;
  check(!api::read_export(text, keys()));
}

}  // namespace

// Input: what of the three; which byte turns; then text, or words for commands.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 2), size - 2);
  if (data[0] % 4 == 0) {
    check(!api::read_export(text, keys()));
  } else if (data[0] % 4 == 1) {
    std::size_t lines = 0;
    for (const char c : text) lines += c == '\n';
    const auto read = api::read_export(signed_lines(text, lines == 0 ? 0 : lines - 1), keys());
    check(read ? read->events.size() + 1 == lines : !read.error().message.empty());
  } else {
    Bytes bytes(data + 2, size - 2);
    whole_and_edited(bytes, data[1]);
  }
  return 0;
}
