// The journal's parked entries, decided on a copy.
#include "tools/offline/redrive_try.h"

#include <algorithm>
#include <boost/json.hpp>
#include <deque>
#include <optional>

#include "events/frames.h"
#include "runtime/api/journal_views.h"
#include "runtime/api/views.h"
#include "tools/offline/folder.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Parked {
  v1::Context context;
  std::string command, reason;
};

struct Found {
  ActorKey key;
  std::optional<runtime::views::Fold> fold;
  std::deque<Parked> waiting;
};

bool is_named(const v1::ActorRef& ref, const std::string& name) {
  const std::string short_name = ref.type() + "/" + ref.id();
  return name == short_name || name == ref.tenant() + "/" + short_name;
}

Status take(const actors::Catalog& catalog, const v1::Entry& entry, Found& out) {
  const ActorKey key = actors::to_key(entry.actor());
  if (out.key.type.empty()) out.key = key;
  if (!(key == out.key))
    return soma::fail(Code::kConflict,
                      "several tenants have such an actor; say which, as " + to_string(out.key));
  if (!out.fold) {
    const auto* type = catalog.find(key.type);
    if (!type) return soma::fail(Code::kNotSupported, "this build has no actor type " + key.type);
    out.fold.emplace(*type);
  }
  const std::string& id = entry.context().command_id();
  const auto same = [&](const Parked& p) { return p.context.command_id() == id; };
  const auto known = std::find_if(out.waiting.begin(), out.waiting.end(), same);
  if (!entry.parked().empty()) {
    if (known == out.waiting.end())
      out.waiting.push_back({entry.context(), entry.command(), entry.parked()});
    return {};
  }
  if (known != out.waiting.end()) out.waiting.erase(known);
  for (const auto& event : entry.events())
    if (auto ok = out.fold->apply(event); !ok) return ok;
  return {};
}

Result<Found> find(const events::Log& log, const actors::Catalog& catalog,
                   const std::string& name) {
  Found out;
  const auto look = [&](const events::ValidFrame& frame) -> Result<bool> {
    for (const auto& entry : frame.frame->entries())
      if (is_named(entry.actor(), name))
        if (auto ok = take(catalog, entry, out); !ok) return tl::unexpected(ok.error());
    return true;
  };
  if (auto ok = events::each_frame(log, look); !ok) return tl::unexpected(ok.error());
  if (out.key.type.empty()) return soma::fail(Code::kNotFound, "the journal has no actor " + name);
  if (out.waiting.empty())
    return soma::fail(Code::kNotFound, "no commands are parked for this actor");
  return out;
}

// {result, events, detail} of one command on the copy, which goes on from there.
json::object tried(const actors::ActorType& type, const Found& found, const Parked& parked,
                   actors::Message& state) {
  const auto row = [](const char* result, json::array events, json::value detail) {
    return json::object{
        {"result", result}, {"events", std::move(events)}, {"detail", std::move(detail)}};
  };
  auto command = type.new_command();
  if (!command->ParseFromString(parked.command))
    return row("parked", {}, "the command does not parse");
  try {
    auto decided = type.decide(found.key, state, *command, parked.context);
    if (!decided) return row("refused", {}, json::string(decided.error().message));
    json::array events;
    for (const auto& e : decided->events) {
      type.evolve(state, *e);
      events.emplace_back(type.event_type(*e));
    }
    return row("runs", std::move(events), nullptr);
  } catch (const std::exception& e) {
    return row("parked", {}, e.what());
  }
}

}  // namespace

int try_redrive(const Context& c, const std::string& actor) {
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  const auto catalog = actors::standard_catalog();
  auto found = find(**log, *catalog, actor);
  if (!found) return c.fail(found.error());
  const auto& type = *catalog->find(found->key.type);
  auto state = type.new_state();
  state->CopyFrom(found->fold->state());
  json::array rows;
  bool stuck = false;
  for (const auto& parked : found->waiting) {
    json::object row =
        runtime::views::waiting_command(*catalog, found->key, parked.context, parked.command);
    row["parked_because"] = parked.reason;
    if (stuck)
      row["result"] = "waits";
    else
      for (auto& member : tried(type, *found, parked, *state)) row[member.key()] = member.value();
    stuck = stuck || row.at("result").as_string() == "parked";
    rows.push_back(std::move(row));
  }
  c.print_list(rows, {"command_id", "result", "events", "detail"}, {"time", "principal"});
  if (!stuck) return 0;
  return c.fail({Code::kConflict, "this build would park the actor again", {}},
                "see `detail` above; nothing was changed");
}

}  // namespace soma::cli
