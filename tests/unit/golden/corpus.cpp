// Lines of tab-separated columns; folding.
#include "tests/unit/golden/corpus.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <fstream>
#include <sstream>

#include "events/upcast.h"
#include "schemas/base/sha256.h"
#include "schemas/base/unhex.h"

namespace soma::golden {

namespace {

using actors::Message;
using google::protobuf::FieldDescriptor;

constexpr char kBegin[] = "history ";

// The path of something that this build has no field for; empty when there is nothing.
std::string unknown_in(const Message& m) {
  const auto* r = m.GetReflection();
  if (!r->GetUnknownFields(m).empty())
    return m.GetTypeName() + "." + std::to_string(r->GetUnknownFields(m).field(0).number());
  std::vector<const FieldDescriptor*> fields;
  r->ListFields(m, &fields);
  for (const auto* f : fields) {
    if (f->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int count = f->is_repeated() ? r->FieldSize(m, f) : 1;
    for (int i = 0; i < count; ++i) {
      const auto found =
          unknown_in(f->is_repeated() ? r->GetRepeatedMessage(m, f, i) : r->GetMessage(m, f));
      if (!found.empty()) return found;
    }
  }
  return {};
}

}  // namespace

Result<Corpus> load(const std::filesystem::path& file) {
  Corpus out;
  std::ifstream in(file);
  std::string line;
  for (int n = 1; std::getline(in, line); ++n) {
    const auto wrong = [&](const char* what) {
      return fail(Code::kCorrupt, file.string() + ":" + std::to_string(n) + ": " + what);
    };
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with(kBegin)) {
      out.push_back({line.substr(sizeof kBegin - 1), {}});
      continue;
    }
    if (out.empty()) return wrong("an event of no history");
    std::istringstream cells(line);
    Sample s;
    std::string payload;
    if (!(cells >> s.type >> s.schema >> payload >> s.digest) || !cells.eof())
      return wrong("not four columns");
    if (payload == "-") payload.clear();  // an event of no bytes
    auto bytes = unhex(payload);
    if (!bytes) return wrong("not hex");
    s.payload = std::move(*bytes);
    out.back().events.push_back(std::move(s));
  }
  return out;
}

void save(const std::filesystem::path& file, const std::string& actor, const Corpus& corpus) {
  std::ofstream out(file);
  out << "# " << actor
      << ": type and schema of an event, its bytes, SHA-256 of the state with it\n";
  for (const auto& history : corpus) {
    out << kBegin << history.origin << "\n";
    for (const auto& s : history.events)
      out << s.type << "\t" << s.schema << "\t" << (s.payload.empty() ? "-" : hex(s.payload))
          << "\t" << s.digest << "\n";
  }
}

Result<std::unique_ptr<Message>> decode(const actors::ActorType& type, const Sample& sample) {
  // No event of this build has an older shape. One that gets one brings its upcasters here too.
  static const events::Upcasters upcasters;
  v1::RecordedEvent recorded;
  recorded.set_type(sample.type);
  recorded.set_schema(sample.schema);
  recorded.set_payload(sample.payload);
  if (auto ok = upcasters.apply(recorded); !ok) return tl::unexpected(ok.error());
  auto event = type.new_event();
  if (!event->ParseFromString(recorded.payload()))
    return fail(Code::kCorrupt, sample.type + " does not parse");
  if (const auto unknown = unknown_in(*event); !unknown.empty())
    return fail(Code::kCorrupt, sample.type + ": field " + unknown + " is not known");
  if (type.event_type(*event) != recorded.type())
    return fail(Code::kCorrupt, sample.type + " is called '" + type.event_type(*event) + "' now");
  if (actors::deterministic_bytes(*event) != recorded.payload())
    return fail(Code::kCorrupt, sample.type + " would be written in other bytes");
  return event;
}

Result<std::vector<std::string>> fold(const actors::ActorType& type, const History& history) {
  std::vector<std::string> out;
  auto state = type.new_state();
  for (const auto& sample : history.events) {
    auto event = decode(type, sample);
    if (!event) return tl::unexpected(event.error());
    type.evolve(*state, **event);
    out.push_back(sha256_hex(actors::deterministic_bytes(*state)));
  }
  return out;
}

int case_of(const Message& event) {
  const auto* kind = event.GetDescriptor()->FindOneofByName("kind");
  const auto* field = event.GetReflection()->GetOneofFieldDescriptor(event, kind);
  return field ? field->number() : 0;
}

}  // namespace soma::golden
