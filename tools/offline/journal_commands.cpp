// soma log and soma actor: through a running node, or on a stopped folder.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "schemas/base/ids.h"
#include "tools/cli/filter.h"
#include "tools/cli/history.h"
#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"
#include "tools/offline/export.h"
#include "tools/offline/log_tail.h"
#include "tools/offline/migrate.h"
#include "tools/offline/sql_command.h"
#include "tools/term/diff.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  std::string actor, at, from, to, position, type, out, folder;
  int partition = -1;
};

// "TYPE/ID" or "TENANT/TYPE/ID" as a route.
Result<std::string> actor_route(const std::string& text) {
  const auto a = text.find('/'), b = text.find('/', a == text.npos ? a : a + 1);
  if (a == text.npos || a == 0 || a + 1 == text.size() || b == a + 1 || b + 1 == text.size())
    return soma::fail(Code::kInvalidArgument,
                      "an actor is TENANT/TYPE/ID or TYPE/ID, not `" + text + "`", "ACTOR");
  if (b == text.npos)
    return "/v1/actors/" + url_encoded(text.substr(0, a)) + "/" + url_encoded(text.substr(a + 1));
  return "/v1/actors/" + url_encoded(text.substr(a + 1, b - a - 1)) + "/" +
         url_encoded(text.substr(b + 1)) + "?tenant=" + url_encoded(text.substr(0, a));
}

std::string with_query(const std::string& route, const std::string& name,
                       const std::string& value) {
  if (value.empty()) return route;
  return route + (route.find('?') == route.npos ? "?" : "&") + name + "=" + url_encoded(value);
}

Result<json::value> state_at(const Context& c, const std::string& actor, const std::string& at) {
  auto route = actor_route(actor);
  if (!route) return tl::unexpected(route.error());
  return c.read(with_query(*route, "at", at));
}

int actor_state(const Context& c, const Flags& f) { return c.show(state_at(c, f.actor, f.at)); }

int actor_history(const Context& c, const Flags& f) {
  auto route = actor_route(f.actor);
  if (!route) return c.fail(route.error());
  const auto query = route->find('?');
  const std::string path =
      route->substr(0, query) + "/history" + (query == route->npos ? "" : route->substr(query));
  return show_history(c, path, f.at);
}

}  // namespace

int print_diff(const Context& c, const Result<json::value>& from, const Result<json::value>& to) {
  if (!from) return c.fail(from.error());
  if (!to) return c.fail(to.error());
  c.print_list(diff(*from, *to), {"change", "path", "from", "to"});
  return 0;
}

namespace {

int actor_diff(const Context& c, const Flags& f) {
  auto from = state_at(c, f.actor, f.from), to = state_at(c, f.actor, f.to);
  if (!from) return c.fail(from.error());
  if (!to) return c.fail(to.error());
  return print_diff(c, from->at("state"), to->at("state"));
}

int log_stat(const Context& c) {
  auto all = c.read_all("/v1/log/partitions");
  if (!all) return c.fail(all.error());
  std::uint64_t records = 0, frames = 0, voided = 0, bytes = 0, segments = 0;
  std::string oldest, newest;
  for (const auto& p : *all) {
    records += p.at("records").to_number<std::uint64_t>();
    frames += p.at("frames").to_number<std::uint64_t>();
    voided += p.at("voided").to_number<std::uint64_t>();
    const std::string from = text_of(p, "oldest"), to = text_of(p, "newest");
    if (oldest.empty() || (!from.empty() && from < oldest)) oldest = from;
    newest = std::max(newest, to);
  }
  json::object out{{"partitions", all->size()},
                   {"records", records},
                   {"frames", frames},
                   {"voided", voided},
                   {"oldest", oldest.empty() ? json::value(nullptr) : json::value(oldest)},
                   {"newest", newest.empty() ? json::value(nullptr) : json::value(newest)}};
  // Files are the folder's, so they are told only of its own journal.
  const auto named = c.offline ? Result<std::string>("") : c.named_node();
  std::error_code error;
  if (c.kafka.empty() && named && named->empty())
    for (const auto& e : std::filesystem::directory_iterator(c.folder() + "/log", error))
      if (e.path().extension() == ".seg") {
        ++segments;
        bytes += e.file_size(error);
      }
  if (segments > 0) {
    out["segments"] = segments;
    out["bytes"] = bytes;
  }
  c.print(out);
  return 0;
}

int log_owners(const Context& c) {
  const auto for_people = [](json::value& item) {
    const auto* standbys = item.at("standbys").if_array();
    if (!standbys) return;
    std::string text;
    for (const auto& s : *standbys)
      (text += text.empty() ? "" : ", ") +=
          text_of(s, "node") + " (" + std::to_string(s.at("lag").to_number<std::uint64_t>()) + ")";
    item.as_object()["standbys"] = text;
  };
  return c.list("/v1/log/partitions", "items",
                {"partition", "owner", "epoch", "since", "lag", "standbys"}, {"owner_address"},
                c.table() ? for_people : std::function<void(json::value&)>());
}

int log_get(const Context& c, const std::string& text) {
  const auto position = parse_position(text);
  if (!position)
    return c.fail({Code::kInvalidArgument, "a position is PARTITION/OFFSET, as 3/17", "POSITION"});
  return c.show(c.read("/v1/log/frames/" + to_string(*position)));
}

int log_tail(const Context& c, LogTail& tail) {
  auto wanted = Filter::parse(c.filters);
  if (!wanted) return c.fail(wanted.error());
  auto frames = tail.next(c);
  if (!frames) return c.fail(frames.error());
  json::array shown;
  for (auto& frame : *frames)
    if (wanted->matches(frame)) shown.push_back(std::move(frame));
  c.print_list(shown, {"time", "position", "epoch", "commands", "events"}, {"number", "hash"});
  if (c.cursor.empty() && c.limit > LogTail::kMostNewest)
    c.note("shown: the newest " + std::to_string(LogTail::kMostNewest) +
           " at most; from further back with --cursor, as 0/0,1/0");
  if (c.watch_s <= 0) c.note("next: --cursor " + tail.cursor());
  return 0;
}

void add_log(CLI::App& app, Context& context, const Wrap& run, const std::shared_ptr<Flags>& f) {
  auto* log = add_group(app, "log", "The journal: everything that ever happened");
  add_kafka_options(*log, context);
  auto* stat = add_verb(*log, context, run, "stat", "Size and span of the journal", Effect::kRead,
                        "soma log stat", [&context] { return log_stat(context); });
  add_watch_option(*stat, context);
  auto* partitions = add_verb(
      *log, context, run, "partitions", "Records, epoch and chain head of each partition",
      Effect::kRead, "soma log partitions -o wide", [&context] {
        return context.list("/v1/log/partitions", "items",
                            {"partition", "records", "frames", "voided", "epoch", "newest"},
                            {"number", "oldest", "head"});
      });
  add_list_options(*partitions, context);
  auto* owners =
      add_verb(*log, context, run, "owners",
               "Which node owns which partition; lag: records after its last frame; a node also "
               "tells which others are warm for it, and how many records they lack",
               Effect::kRead, "soma log owners", [&context] { return log_owners(context); });
  add_list_options(*owners, context);
  auto* tail =
      add_verb(*log, context, run, "tail", "The newest frames", Effect::kRead,
               "soma log tail --limit 5 --filter events!=0 -o json",
               [&context, from = std::make_shared<LogTail>()] { return log_tail(context, *from); });
  add_list_options(*tail, context);
  add_sql_verb(*log, context, run);
  auto* get = add_verb(*log, context, run, "get", "One frame, decoded", Effect::kRead,
                       "soma log get 3/17 -o yaml",
                       [&context, f] { return log_get(context, f->position); });
  get->add_option("position", f->position, "PARTITION/OFFSET")->required();
  auto* exported =
      add_verb(*log, context, run, "export",
               "All frames, decoded, a line of JSON each; or the journal into a new data folder",
               Effect::kRead, "soma log export --to backup", [&context, f] {
                 if (!f->folder.empty()) return export_journal(context, f->folder);
                 return export_frames(context, f->from, f->partition, f->out);
               });
  exported->add_option("--from", f->from, "Begin at this position")->type_name("PARTITION/OFFSET");
  exported->add_option("--partition", f->partition, "Only this one")
      ->check(CLI::Range(0, 4095))
      ->type_name("N");
  auto* out = exported->add_option("--out", f->out, "Write here instead of stdout");
  out->type_name("FILE");
  exported
      ->add_option("--to", f->folder,
                   "Copy the records as they are into this data folder, and compare the heads")
      ->type_name("DIR")
      ->excludes(out, exported->get_option("--from"), exported->get_option("--partition"));
  auto* imported =
      add_local_verb(*log, context, run, "import",
                     "Copy a stopped data folder's journal onto a cluster, and compare the heads",
                     Effect::kWrite, "soma log import --from .soma --kafka localhost:9092",
                     [&context, f] { return import_journal(context, f->folder); });
  imported->add_option("--from", f->folder, "The data folder to copy")
      ->type_name("DIR")
      ->required();
}

}  // namespace

void add_journal_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  add_log(app, context, run, f);
  auto* actor = add_group(app, "actor", "Any actor, by reflection");
  add_kafka_options(*actor, context);
  add_list_options(*add_verb(*actor, context, run, "types", "Actor types of the node's build",
                             Effect::kRead, "soma actor types",
                             [&context] {
                               return context.list("/v1/actor-types", "items",
                                                   {"type", "state", "event"},
                                                   {"command", "schema"});
                             }),
                   context);
  auto* list = add_verb(*actor, context, run, "list", "Actors that have events", Effect::kRead,
                        "soma actor list --type session", [&context, f] {
                          return context.list(with_query("/v1/actors", "type", f->type), "items",
                                              {"actor", "type", "partition"}, {"tenant", "id"});
                        });
  list->add_option("--type", f->type, "Only of this type")->type_name("TYPE");
  add_list_options(*list, context);
  const auto of_actor = [&](const char* name, const char* summary, const char* example,
                            std::function<int()> body) {
    auto* command =
        add_verb(*actor, context, run, name, summary, Effect::kRead, example, std::move(body));
    command->add_option("actor", f->actor, "TENANT/TYPE/ID, or TYPE/ID")->required();
    return command;
  };
  add_watch_option(*of_actor("show", "An actor as it is now", "soma actor show demo/tenant/demo",
                             [&context, f] { return actor_state(context, *f); }),
                   context);
  auto* history = of_actor("history", "An actor's events", "soma actor history session/SESSION_ID",
                           [&context, f] { return actor_history(context, *f); });
  add_at_option(*history, f->at);
  add_list_options(*history, context);
  of_actor("state", "An actor's state, now or at any place in its history",
           "soma actor state session/SESSION_ID --at 7",
           [&context, f] { return actor_state(context, *f); })
      ->add_option("--at", f->at, "Sequence, UTC time or position")
      ->type_name("AT");
  auto* difference = of_actor("diff", "What changed between two places in an actor's history",
                              "soma actor diff session/SESSION_ID --from 3 --to 9",
                              [&context, f] { return actor_diff(context, *f); });
  difference->add_option("--from", f->from, "Sequence, UTC time or position")
      ->required()
      ->type_name("AT");
  difference->add_option("--to", f->to, "The same; now when absent")->type_name("AT");
}

}  // namespace soma::cli
