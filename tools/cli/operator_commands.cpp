// status, projections, effects, dlq, snapshots: what an operator looks after.
#include <poll.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <iostream>

#include "events/embedded/folder_lock.h"
#include "tools/cli/doctor.h"
#include "tools/cli/progress.h"
#include "tools/cli/support_bundle.h"
#include "tools/cli/verbs.h"
#include "tools/offline/redrive_try.h"

namespace soma::cli {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr int kBetweenLooksMs = 200;

struct Flags {
  std::string id, type, out, outcome, reason;
  bool fix = false, no_wait = false, try_only = false, force = false;
};

int status(const Context& c) {
  auto r = c.call("GET", "/v1/admin/status");
  if (!r || !c.table()) return c.show(r);
  json::object head = r->as_object();
  const json::array partitions = head["partitions"].as_array();
  head.erase("partitions");
  c.print(head);
  std::cout << "\n";
  c.print_list(partitions,
               {"partition", "serving", "epoch", "applied", "active_actors", "queued",
                "pending_effects", "parked", "problem"},
               {"frames_in_flight"});
  return 0;
}

int projections_lag(const Context& c) {
  auto r = c.call("GET", "/v1/admin/projections/lag");
  if (!r && r.error().code == Code::kUnavailable)
    return c.fail(r.error(), "give the node a database with --postgres");
  if (!r || !c.table()) return c.show(r);
  json::object head = r->as_object();
  const json::array partitions = head["partitions"].as_array();
  head.erase("partitions");
  c.print(head);
  std::cout << "\n";
  c.print_list(partitions, {"partition", "read_up_to", "log_end", "lag"});
  return 0;
}

// Of a rebuild or a check of the views.
int judged(const Context& c, const Result<json::value>& r) {
  if (const int code = c.show(r); code != 0) return code;
  const auto* ok = member(*r, "ok");
  if (!ok || !ok->is_bool() || ok->get_bool()) return 0;
  return c.fail({Code::kCorrupt, "the views are not what the journal makes", {}},
                "`soma projections rebuild` makes them anew");
}

// Until the rebuild that was asked for has ended.
int wait_for_rebuild(const Context& c, std::uint64_t ended_before) {
  Progress progress("rebuild", 0);
  for (;;) {
    auto r = c.call("GET", "/v1/admin/projections");
    if (!r) return c.fail(r.error());
    const auto& state = r->at("rebuild");
    const auto number = [&](const char* name) { return state.at(name).to_number<std::uint64_t>(); };
    progress.at(number("frames_read"), number("frames_total"));
    if (number("done") + number("failed") > ended_before && !state.at("running").as_bool()) {
      progress.end();
      if (const std::string error = text_of(state, "error"); !error.empty())
        return c.fail({Code::kUnavailable, "the rebuild failed: " + error, {}},
                      "the old views still answer; see `soma projections list`");
      c.print(json::object{{"status", "rebuilt"},
                           {"frames", number("frames_read")},
                           {"rows", number("rows")},
                           {"seconds", state.at("seconds")}});
      return 0;
    }
    ::poll(nullptr, 0, kBetweenLooksMs);
  }
}

int rebuild(const Context& c, const Flags& f) {
  auto before = c.call("GET", "/v1/admin/projections");
  if (!before) return c.fail(before.error());
  const auto& state = before->at("rebuild");
  const auto ended =
      state.at("done").to_number<std::uint64_t>() + state.at("failed").to_number<std::uint64_t>();
  auto started = c.call("POST", "/v1/admin/projections/rebuild", json::object{});
  if (!started || c.dry_run || f.no_wait) return c.show(started);
  return wait_for_rebuild(c, ended);
}

void add_projections(CLI::App& app, Context& context, const Wrap& run,
                     const std::shared_ptr<Flags>& f) {
  auto* group = add_group(app, "projections", "Views in PostgreSQL, made from the journal");
  auto* list = add_verb(*group, context, run, "list", "The views and how far they are",
                        Effect::kRead, "soma projections list", [&context] {
                          return context.show(context.call("GET", "/v1/admin/projections"));
                        });
  auto* lag =
      add_verb(*group, context, run, "lag", "Frames not yet in the views", Effect::kRead,
               "soma projections lag --watch", [&context] { return projections_lag(context); });
  add_watch_option(*list, context);
  add_watch_option(*lag, context);
  add_verb(*group, context, run, "rebuild", "Make the views anew from the journal, and wait for it",
           Effect::kWrite, "soma projections rebuild",
           [&context, f] { return rebuild(context, *f); })
      ->add_flag("--no-wait", f->no_wait, "Only begin it");
  add_verb(*group, context, run, "verify", "Compare the views with what the journal makes",
           Effect::kRead, "soma projections verify", [&context] {
             return judged(context, context.call("GET", "/v1/admin/projections/verify"));
           });
}

void add_resolve(CLI::App& group, Context& context, const Wrap& run,
                 const std::shared_ptr<Flags>& f) {
  auto* resolve = add_verb(
      group, context, run, "resolve", "Settle an effect whose outcome is unknown, for good",
      Effect::kWrite, "soma effects resolve EFFECT_ID --outcome done --reason \"seen at the bank\"",
      [&context, f] {
        return context.show(
            context.call("POST", "/v1/admin/effects/" + url_encoded(f->id) + "/resolve",
                         json::object{{"outcome", f->outcome}, {"reason", f->reason}}));
      });
  resolve->add_option("effect", f->id, "Effect id")->required();
  resolve
      ->add_option("--outcome", f->outcome,
                   "done: it took effect; failed: it did not; retry: it did not, run it again")
      ->required()
      ->check(CLI::IsMember({"done", "failed", "retry"}));
  resolve->add_option("--reason", f->reason, "How you know; recorded with your name")
      ->required()
      ->type_name("TEXT");
}

void add_effects(CLI::App& app, Context& context, const Wrap& run,
                 const std::shared_ptr<Flags>& f) {
  auto* group = add_group(app, "effects", "Outside work: model calls, timers, embeddings");
  auto* list =
      add_verb(*group, context, run, "list", "Effects that are pending or unknown", Effect::kRead,
               "soma effects list --filter state=unknown", [&context] {
                 return context.list("/v1/admin/effects", "items",
                                     {"effect_id", "kind", "attempt", "state", "since", "actor"});
               });
  add_list_options(*list, context);
  add_verb(*group, context, run, "show", "One effect", Effect::kRead, "soma effects show EFFECT_ID",
           [&context, f] {
             return context.show(context.call("GET", "/v1/admin/effects/" + url_encoded(f->id)));
           })
      ->add_option("effect", f->id, "Effect id")
      ->required();
  add_resolve(*group, context, run, f);
}

// "TENANT/TYPE/ID" or "TYPE/ID" as the end of a route.
Result<std::string> parked_route(const std::string& text) {
  const auto last = text.rfind('/');
  const auto before = last == text.npos || last == 0 ? text.npos : text.rfind('/', last - 1);
  const std::string type = last == text.npos
                               ? ""
                               : text.substr(before == text.npos ? 0 : before + 1,
                                             last - (before == text.npos ? 0 : before + 1));
  if (type.empty() || last + 1 == text.size())
    return soma::fail(Code::kInvalidArgument,
                      "an actor is TENANT/TYPE/ID or TYPE/ID, not `" + text + "`", "ACTOR");
  return "/v1/admin/parked/" + url_encoded(type) + "/" + url_encoded(text.substr(last + 1));
}

// The node tries first; what it would park again stays as it is, unless --force says otherwise.
int redrive_actor(const Context& c, const Flags& f) {
  if (f.try_only) return try_redrive(c, f.id);
  if (!c.kafka.empty())
    return c.fail({Code::kInvalidArgument, "--kafka is for --try alone", "--kafka"},
                  "name the node with --server");
  auto route = parked_route(f.id);
  if (!route) return c.fail(route.error());
  auto tried = c.call("GET", *route + "/redrive");
  if (!tried && tried.error().code != Code::kNotFound) return c.fail(tried.error());
  const bool stuck = tried && tried->at("would_park_again").as_bool();
  // Not there: nothing is parked, which the redrive itself answers.
  if (tried && (c.dry_run || (stuck && !f.force)))
    return show_tried(c, tried->at("items").as_array(), stuck && !f.force);
  return c.show(c.call("POST", *route + "/redrive" + (f.force ? "?force=true" : "")));
}

void add_dlq(CLI::App& app, Context& context, const Wrap& run, const std::shared_ptr<Flags>& f) {
  auto* group = add_group(app, "dlq", "Actors that could not decide, and their waiting commands");
  auto* list = add_verb(
      *group, context, run, "list", "Parked actors", Effect::kRead, "soma dlq list", [&context] {
        return context.list("/v1/admin/parked", "items", {"actor", "commands", "since", "reason"});
      });
  add_list_options(*list, context);
  const auto of_actor = [&](const char* name, const char* summary, Effect effect,
                            const char* example, std::function<int()> body) {
    auto* command = add_verb(*group, context, run, name, summary, effect, example, std::move(body));
    command->add_option("actor", f->id, "TENANT/TYPE/ID, or TYPE/ID")->required();
    return command;
  };
  const auto call = [&context, f](const char* method, const char* tail) {
    auto route = parked_route(f->id);
    if (!route) return context.fail(route.error());
    return context.show(context.call(method, *route + tail));
  };
  of_actor("show", "One parked actor and its commands", Effect::kRead,
           "soma dlq show demo/session/SESSION_ID", [call] { return call("GET", ""); });
  auto* redrive = of_actor(
      "redrive", "Try a parked actor's commands on a copy, then decide them again in order",
      Effect::kWrite, "soma dlq redrive demo/session/SESSION_ID",
      [&context, f] { return redrive_actor(context, *f); });
  auto* only = redrive->add_flag(
      "--try", f->try_only,
      "Only try, with this build: reads the journal of a folder or a cluster, changes nothing");
  redrive->add_flag("--force", f->force, "Even if the node's build would park the actor again")
      ->excludes(only);
  add_kafka_options(*redrive, context);
}

int drop_on_node(const Context& c, const Flags& f) {
  std::string path = "/v1/admin/snapshots";
  if (!f.id.empty()) {
    auto route = parked_route(f.id);
    if (!route) return c.fail(route.error());
    const auto last = f.id.rfind('/');
    const std::string head = f.id.substr(0, last);
    path += "?type=" + url_encoded(head.substr(head.rfind('/') + 1)) +
            "&id=" + url_encoded(f.id.substr(last + 1));
  }
  return c.show(c.call("DELETE", path));
}

// The whole store of a stopped folder: it is a cache, and is made again at the next start.
int drop_in_folder(const Context& c, const Flags& f) {
  const fs::path store = fs::path(c.folder()) / "snapshots";
  if (!f.id.empty())
    return c.fail({Code::kNotSupported, "on a stopped folder all snapshots go, or none", {}},
                  "leave the actor away, or start a node");
  std::error_code error;
  if (!fs::exists(store, error))
    return c.fail({Code::kNotFound, "there is no snapshot store in " + c.folder(), {}});
  if (c.dry_run) {
    c.print(json::object{{"dry_run", true}, {"remove", store.string()}});
    return 0;
  }
  events::FolderLock lock;  // held while the files go, so that no node starts on half of them
  if (auto locked = lock.take((fs::path(c.folder()) / "log").string()); !locked)
    return c.fail(locked.error());
  const auto removed = fs::remove_all(store, error);
  if (error)
    return c.fail({Code::kIo, "cannot remove " + store.string() + ": " + error.message(), {}});
  c.print(json::object{{"removed", store.string()}, {"files", removed}});
  return 0;
}

void add_snapshots(CLI::App& app, Context& context, const Wrap& run,
                   const std::shared_ptr<Flags>& f) {
  auto* group =
      add_group(app, "snapshots", "States kept beside the journal, so that starts are quick");
  auto* list =
      add_verb(*group, context, run, "list", "Snapshots and whether they are usable", Effect::kRead,
               "soma snapshots list --type session", [&context, f] {
                 std::string path = "/v1/admin/snapshots";
                 if (!f->type.empty()) path += "?type=" + url_encoded(f->type);
                 return context.list(path, "items", {"actor", "sequence", "bytes", "usable"},
                                     {"partition", "offset", "pending_effects"});
               });
  list->add_option("--type", f->type, "Only of this actor type")->type_name("TYPE");
  add_list_options(*list, context);
  add_verb(*group, context, run, "drop",
           "Drop snapshots; states are folded from the journal again when needed",
           Effect::kDestructive, "soma snapshots drop --yes",
           [&context, f] {
             if (auto named = context.named_node(); !named) return context.fail(named.error());
             return context.node_is_there() ? drop_on_node(context, *f)
                                            : drop_in_folder(context, *f);
           })
      ->add_option("actor", f->id, "TENANT/TYPE/ID: only this one's");
}

}  // namespace

void add_operator_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* state = add_verb(app, context, run, "status", "State of the node", Effect::kRead,
                         "soma status --watch", [&context] { return status(context); });
  add_watch_option(*state, context);
  auto* doctor = add_local_verb(
      app, context, run, "doctor", "Look for what keeps soma from working, and how to mend it",
      Effect::kWrite, "soma doctor --fix", [&context, f] { return run_doctor(context, f->fix); });
  doctor->add_flag("--fix", f->fix, "Mend what can be mended without losing anything");
  add_verb(app, context, run, "bundle",
           "One file for those who help: states and numbers, no secrets", Effect::kRead,
           "soma bundle --out support.json",
           [&context, f] { return write_support_bundle(context, f->out); })
      ->add_option("--out", f->out, "Write here instead of stdout")
      ->type_name("FILE");
  add_projections(app, context, run, f);
  add_effects(app, context, run, f);
  add_dlq(app, context, run, f);
  add_snapshots(app, context, run, f);
}

}  // namespace soma::cli
