// Decides and folds; sends nothing, writes nothing.
#include "runtime/api/redrive_try.h"

#include <exception>

#include "runtime/api/journal_views.h"

namespace soma::runtime::api {

namespace json = boost::json;

namespace {

// {result, events, detail} of one command on the copy, which goes on from there.
json::object tried(const actors::ActorType& type, const ActorKey& key, const ParkedCommand& parked,
                   actors::Message& state) {
  const auto row = [](const char* result, json::array events, json::value detail) {
    return json::object{
        {"result", result}, {"events", std::move(events)}, {"detail", std::move(detail)}};
  };
  auto command = type.new_command();
  if (!command->ParseFromString(parked.command))
    return row("parked", {}, "the command does not parse");
  try {
    auto decided = type.decide(key, state, *command, parked.context);
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

TriedRedrive try_redrive(const actors::Catalog& catalog, const ActorKey& key,
                         const actors::Message& state, const std::vector<ParkedCommand>& waiting) {
  const auto& type = *catalog.find(key.type);
  auto copy = type.new_state();
  copy->CopyFrom(state);
  TriedRedrive out;
  for (const auto& parked : waiting) {
    json::object row = views::waiting_command(catalog, key, parked.context, parked.command);
    row["parked_because"] = parked.reason;
    if (out.stuck) {
      row["result"] = "waits";
    } else {
      for (auto& member : tried(type, key, parked, *copy)) row[member.key()] = member.value();
      out.stuck = row.at("result").as_string() == "parked";
      if (out.stuck) out.problem = std::string(row.at("detail").as_string());
    }
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace soma::runtime::api
