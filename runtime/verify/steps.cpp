// Deciding and folding, digests, and their comparison.
#include "runtime/verify/steps.h"

#include <boost/json.hpp>
#include <charconv>
#include <exception>

#include "events/frames.h"
#include "runtime/verify/whole_step.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"

namespace soma::runtime {

namespace json = boost::json;

namespace {

constexpr std::size_t kDigest = 16;  // hex digits

std::string digest(const std::string& bytes) { return sha256_hex(bytes).substr(0, kDigest); }

void append(std::string& out, std::string_view part) {
  out += std::to_string(part.size()) + ":";
  out += part;
}

std::string case_of(const actors::Message& command) {
  const auto* oneof = command.GetDescriptor()->oneof_decl_count() > 0
                          ? command.GetDescriptor()->oneof_decl(0)
                          : nullptr;
  const auto* field =
      oneof ? command.GetReflection()->GetOneofFieldDescriptor(command, oneof) : nullptr;
  return field ? std::string(field->name()) : "nothing";
}

std::string effects_of(const actors::ActorType& type, const ActorKey& key,
                       const actors::Message& state) {
  std::string all;
  for (const auto& e : type.effects(key, state)) {
    append(all, e.effect_id);
    append(all, e.kind);
    append(all, e.request);
    append(all, std::to_string(e.attempt) + " " + std::to_string(e.not_before_ms) + " " +
                    std::to_string(e.deadline_ms) + " " +
                    std::to_string(static_cast<int>(e.effect_class)));
  }
  return digest(all);
}

struct Folded {
  const actors::ActorType* type = nullptr;
  std::unique_ptr<actors::Message> state;
};

void decide(const ActorKey& key, const Folded& actor, const v1::Entry& entry, Step& step) {
  auto command = actor.type->new_command();
  if (!command->ParseFromString(entry.command())) {
    step.command = step.gives = "unreadable";
    return;
  }
  step.command = case_of(*command);
  try {
    auto made = actor.type->decide(key, *actor.state, *command, entry.context());
    if (!made) {
      step.gives = "refused: " + std::string(code_name(made.error().code));
      step.decision = digest(step.gives);
      return;
    }
    std::string all;
    for (const auto& e : made->events) {
      append(all, actors::deterministic_bytes(*e));
      step.gives += (step.gives.empty() ? "" : " ") + actor.type->event_type(*e);
    }
    for (const auto& s : made->sends) {
      append(all, to_string(s.to));
      append(all, s.command);
    }
    append(all, made->reply);
    if (step.gives.empty()) step.gives = "no event";
    step.decision = digest(all);
  } catch (const std::exception& e) {
    step.gives = std::string("throws: ") + e.what();
    step.decision = digest(step.gives);
  }
}

void fold(const ActorKey& key, Folded& actor, const v1::Entry& entry, Step& step) {
  try {
    for (const auto& e : entry.events()) {
      step.sequence = e.sequence();
      auto event = actor.type->new_event();
      if (event->ParseFromString(e.payload())) actor.type->evolve(*actor.state, *event);
    }
    step.state = digest(actors::deterministic_bytes(*actor.state));
    step.effects = effects_of(*actor.type, key, *actor.state);
  } catch (const std::exception& e) {
    step.state = "throws";
  }
}

}  // namespace

Status each_step(const events::Log& log, const actors::Catalog& catalog,
                 const std::vector<std::uint64_t>& ends,
                 const std::function<bool(const Step&)>& visit, const std::set<StepPlace>& whole) {
  for (std::uint32_t p = 0; p < log.partition_count() && p < ends.size(); ++p) {
    std::map<ActorKey, Folded> actors;
    events::FrameReader reader(log, PartitionId{p});
    while (reader.next_offset().value < ends[p]) {
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty()) break;
      for (const auto& frame : *frames) {
        if (frame.position.offset.value >= ends[p]) break;
        for (int i = 0; i < frame.frame->entries_size(); ++i) {
          const auto& entry = frame.frame->entries(i);
          const ActorKey key = actors::to_key(entry.actor());
          Step step;
          step.position = frame.position;
          step.entry = static_cast<std::uint32_t>(i);
          step.actor = to_string(key);
          step.key = key;
          step.time_ms = frame.frame->time_ms();
          step.command_id = entry.context().command_id();
          auto& actor = actors[key];
          if (!actor.type && (actor.type = catalog.find(key.type)))
            actor.state = actor.type->new_state();
          if (!actor.type) {
            step.command = step.gives = "unreadable";
          } else {
            if (whole.contains({step.position, step.entry}))
              step.whole = whole_step(catalog, *actor.type, key, *actor.state, entry);
            if (entry.parked().empty())
              decide(key, actor, entry, step);
            else
              step.command = step.gives = "parked";
            fold(key, actor, entry, step);
          }
          if (!visit(step)) return {};
        }
      }
    }
  }
  return {};
}

std::string to_string(const StepPlace& place) {
  return to_string(place.position) + ":" + std::to_string(place.entry);
}

std::optional<StepPlace> parse_step_place(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == text.npos) return {};
  const auto position = parse_position(std::string(text.substr(0, colon)));
  StepPlace out;
  const auto r = std::from_chars(text.data() + colon + 1, text.data() + text.size(), out.entry);
  if (!position || r.ec != std::errc{} || r.ptr != text.data() + text.size()) return {};
  out.position = *position;
  return out;
}

std::string to_line(const Step& s) {
  return json::serialize(json::array{to_string(s.position), s.entry, s.actor, s.command_id,
                                     s.command, s.sequence, s.gives, s.decision, s.state,
                                     s.effects});
}

std::optional<Step> step_of(std::string_view line) {
  const auto v = read_json(line);
  const auto* a = v ? v->if_array() : nullptr;
  if (!a || a->size() != 10) return {};
  for (std::size_t i = 0; i < a->size(); ++i)
    if ((i == 1 || i == 5) != (*a)[i].is_int64()) return {};
  const auto text = [&](std::size_t i) {
    const auto* s = (*a)[i].if_string();
    return s ? std::string(*s) : std::string();
  };
  const auto position = parse_position(text(0));
  if (!position) return {};
  Step s;
  s.position = *position;
  s.entry = static_cast<std::uint32_t>((*a)[1].get_int64());
  s.actor = text(2);
  s.command_id = text(3);
  s.command = text(4);
  s.sequence = static_cast<std::uint64_t>((*a)[5].get_int64());
  s.gives = text(6);
  s.decision = text(7);
  s.state = text(8);
  s.effects = text(9);
  return s;
}

bool BuildComparison::take(const Step& here, const Step& there, bool wanted) {
  if (here.position != there.position || here.entry != there.entry || here.actor != there.actor)
    return false;
  if (!wanted) return true;
  ++steps_;
  bool& diverged = actors_[here.actor];
  if (diverged) return true;  // what follows, follows from it
  std::string kind;
  if (here.gives != there.gives || here.decision != there.decision || here.command != there.command)
    kind = "decision";
  else if (here.state != there.state)
    kind = "state";
  else if (here.effects != there.effects)
    kind = "effects";
  else
    return true;
  diverged = true;
  ++differing_;
  const bool broken = there.gives.starts_with("throws") || there.gives == "unreadable" ||
                      there.state == "throws" ||
                      (there.gives.starts_with("refused") && !here.gives.starts_with("refused"));
  broken_ += broken;
  if (broken && broken_names_.size() < kMost) broken_names_.push_back(here.actor);
  const auto type_from = here.actor.find('/') + 1;
  const std::string type =
      here.actor.substr(type_from, here.actor.find('/', type_from) - type_from);
  std::string cause = type + " " + here.command + ": ";
  if (kind != "decision")
    cause += kind == "state" ? "the same events make another state"
                             : "the same state calls for other effects";
  else if (here.gives != there.gives)
    cause += there.gives + " instead of " + here.gives;
  else
    cause += here.gives + " with other contents";
  Divergence d{here, there, kind, broken};
  auto& group = groups_[kind + cause];
  if (group.actors++ == 0) {
    group.kind = kind;
    group.cause = cause;
    group.first = d;
  }
  if (divergences_.size() < kMost) divergences_.push_back(std::move(d));
  return true;
}

json::object BuildComparison::to_json(const Divergence& d) {
  return {{"actor", d.here.actor},       {"position", to_string(d.here.position)},
          {"sequence", d.here.sequence}, {"command_id", d.here.command_id},
          {"command", d.here.command},   {"kind", d.kind},
          {"here", d.here.gives},        {"there", d.there.gives},
          {"breaks", d.breaks}};
}

std::vector<StepPlace> BuildComparison::firsts() const {
  std::vector<StepPlace> out;
  for (const auto& [name, g] : groups_) out.push_back({g.first.here.position, g.first.here.entry});
  return out;
}

json::object BuildComparison::report() const {
  json::array groups, divergences, broken(broken_names_.begin(), broken_names_.end());
  for (const auto& [name, g] : groups_)
    groups.push_back(
        {{"kind", g.kind}, {"cause", g.cause}, {"actors", g.actors}, {"first", to_json(g.first)}});
  for (const auto& d : divergences_) divergences.push_back(to_json(d));
  return {{"ok", same()},
          {"steps", steps_},
          {"actors", actors_.size()},
          {"differing_actors", differing_},
          {"broken_actors", broken_},
          {"broken", std::move(broken)},
          {"groups", std::move(groups)},
          {"divergences", std::move(divergences)}};
}

}  // namespace soma::runtime
