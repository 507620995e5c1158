// A soma whose deciders were changed, for the release gate's test: SOMA_CHANGE=TYPE:WHERE:HOW, with
// WHERE the case of a command or an event's type.
#include <cstdlib>
#include <stdexcept>

#include "actors/actor_type.h"
#include "tools/cli/commands.h"

namespace soma::actors {

namespace {

struct Change {
  std::string type, where, how;
};

const Change& change() {
  static const Change one = [] {
    const char* text = std::getenv("SOMA_CHANGE");
    const std::string all = text ? text : "::";
    const auto a = all.find(':'), b = all.find(':', a + 1);
    return Change{all.substr(0, a), all.substr(a + 1, b - a - 1), all.substr(b + 1)};
  }();
  return one;
}

// Turns the first number, flag or text of a message, nested ones too, into another.
bool alter(Message& m) {
  const auto* r = m.GetReflection();
  for (int i = 0; i < m.GetDescriptor()->field_count(); ++i) {
    const auto* f = m.GetDescriptor()->field(i);
    if (f->is_repeated()) continue;
    if (f->cpp_type() == f->CPPTYPE_MESSAGE) {
      if (r->HasField(m, f) && alter(*r->MutableMessage(&m, f))) return true;
    } else if (f->real_containing_oneof()) {
      continue;
    } else if (f->cpp_type() == f->CPPTYPE_STRING && f->type() == f->TYPE_STRING) {
      r->SetString(&m, f, r->GetString(m, f) + "~");
      return true;
    } else if (f->cpp_type() == f->CPPTYPE_INT64) {
      r->SetInt64(&m, f, r->GetInt64(m, f) + 1);
      return true;
    } else if (f->cpp_type() == f->CPPTYPE_UINT32) {
      r->SetUInt32(&m, f, r->GetUInt32(m, f) + 1);
      return true;
    }
  }
  return false;
}

std::string case_of(const Message& m) {
  const auto* oneof =
      m.GetDescriptor()->oneof_decl_count() ? m.GetDescriptor()->oneof_decl(0) : nullptr;
  const auto* field = oneof ? m.GetReflection()->GetOneofFieldDescriptor(m, oneof) : nullptr;
  return field ? std::string(field->name()) : "";
}

class Changed final : public ActorType {
 public:
  explicit Changed(const ActorType* real) : real_(real) {}
  std::string_view name() const override { return real_->name(); }
  std::unique_ptr<Message> new_state() const override { return real_->new_state(); }
  std::unique_ptr<Message> new_command() const override { return real_->new_command(); }
  std::unique_ptr<Message> new_event() const override { return real_->new_event(); }
  std::unique_ptr<Message> new_reply() const override { return real_->new_reply(); }
  std::string event_type(const Message& e) const override { return real_->event_type(e); }
  std::string outcome_command(const v1::EffectOutcome& o) const override {
    return real_->outcome_command(o);
  }
  std::optional<std::string> resolve_command(const v1::ResolveEffect& decision) const override {
    return real_->resolve_command(decision);
  }
  const std::string& schema_hash() const override { return real_->schema_hash(); }

  Result<ErasedDecision> decide(const ActorKey& self, const Message& state, const Message& command,
                                const v1::Context& context) const override {
    auto made = real_->decide(self, state, command, context);
    const std::string how = on(case_of(command));
    if (how == "refuse") return fail(Code::kConflict, "changed");
    if (how == "throw") throw std::runtime_error("changed");
    if (!made) return made;
    if (how == "drop_event" && !made->events.empty()) made->events.pop_back();
    if (how == "alter_event" && !made->events.empty()) alter(*made->events.front());
    if (how == "drop_send" && !made->sends.empty()) made->sends.pop_back();
    if (how == "twice" && !made->events.empty()) {
      made->events.push_back(real_->new_event());
      made->events.back()->CopyFrom(*made->events.front());
    }
    if (how == "other_reply") made->reply += '\0';
    return made;
  }
  void evolve(Message& state, const Message& event) const override {
    const std::string how = on(real_->event_type(event));
    if (how == "forget") return;
    real_->evolve(state, event);
    if (how == "mistake") alter(state);
  }
  bool has_effects() const override { return real_->has_effects(); }
  std::vector<Effect> effects(const ActorKey& self, const Message& state) const override {
    auto all = real_->effects(self, state);
    const std::string how = on("effects");
    if (how == "no_effects") all.clear();
    for (auto& e : all) {
      if (how == "later") e.not_before_ms += 1000;
      if (how == "other_request") e.request += '\0';
    }
    return all;
  }

 private:
  std::string on(const std::string& where) const {
    return real_->name() == change().type && where == change().where ? change().how : "";
  }
  const ActorType* const real_;
};

}  // namespace

// The linker sends calls of standard_catalog() here.
extern "C" std::unique_ptr<Catalog> __real__ZN4soma6actors16standard_catalogEv();
extern "C" std::unique_ptr<Catalog> __wrap__ZN4soma6actors16standard_catalogEv() {
  static const std::unique_ptr<Catalog> real = __real__ZN4soma6actors16standard_catalogEv();
  std::vector<std::unique_ptr<ActorType>> types;
  for (const auto* type : real->all()) types.push_back(std::make_unique<Changed>(type));
  return std::make_unique<Catalog>(std::move(types));
}

}  // namespace soma::actors

int main(int argc, char** argv) { return soma::cli::run_command(argc, argv); }
