// soma verify.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "schemas/json/json_read.h"
#include "schemas/json/json_text.h"
#include "tools/cli/discovery.h"
#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"
#include "tools/offline/folder.h"
#include "tools/offline/replay_command.h"
#include "tools/offline/verify_folder.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

struct Flags {
  bool deep = false;
};

// A remote node reads its own journal and tells how it goes.
Result<json::object> verify_remote(const Context& c, bool deep) {
  Progress progress("verify", 0);
  json::object report;
  auto followed = c.follow(std::string("/v1/admin/verify") + (deep ? "?deep=true" : ""),
                           [&](std::string_view name, std::string_view data) {
                             const json::value v = read_json(data).value_or(nullptr);
                             if (!v.is_object()) return true;
                             if (name == "report") report = v.get_object();
                             if (name == "progress")
                               progress.at(v.at("done").to_number<std::uint64_t>(),
                                           v.at("total").to_number<std::uint64_t>());
                             return name != "report";
                           });
  progress.end();
  if (!followed) return tl::unexpected(followed.error());
  if (report.empty())
    return soma::fail(Code::kUnavailable, "the node ended before it had verified its journal");
  return report;
}

Result<json::object> verify_source(const Context& c, runtime::VerifyOptions o) {
  if (c.kafka.empty()) return verify_folder(c.folder(), std::move(o));
  auto log = offline::open_cluster(c);
  if (!log) return tl::unexpected(log.error());
  o.single_writer = false;
  return verify_log(**log, std::move(o));
}

json::value views_of_node(const Context& c) {
  auto r = c.call("GET", "/v1/admin/projections/verify");
  if (!r) return json::value("not checked: " + r.error().message);
  return *r;
}

// Views are derived: asked of the node, where one serves this folder.
json::value views_of_folder(const Context& c) {
  const auto endpoints = endpoints_of(c.folder());
  if (!endpoints || !endpoints->alive || c.offline) return "not checked: no node is running";
  if (const auto named = c.named_node(); !named || !named->empty())
    return "not checked: another node is named than the folder's";
  return views_of_node(c);
}

void judge_views(json::value views, json::object& report) {
  const auto* ok = views.is_object() ? views.get_object().if_contains("ok") : nullptr;
  if (report.at("ok").as_bool() && ok && !ok->as_bool()) {
    report["ok"] = false;
    report["first_bad"] =
        json::object{{"file", nullptr},
                     {"offset", nullptr},
                     {"partition", nullptr},
                     {"frame", nullptr},
                     {"reason", "the views in Postgres are not what the journal makes"},
                     {"invariant", "I10"}};
  }
  report["projections"] = std::move(views);
}

int show(const Context& c, const json::object& report) {
  if (c.table())
    std::cout << verified_summary(report) << std::flush;
  else
    c.print(report);
  if (report.at("ok").as_bool()) return 0;
  const auto& bad = report.at("first_bad");
  std::string place = text_of(bad, "file");
  if (const auto* offset = bad.as_object().if_contains("offset"); !place.empty() && offset)
    place += " at byte " + json_text(*offset);
  return c.fail(
      {Code::kCorrupt,
       "verification failed: " + (place.empty() ? "" : place + ": ") + text_of(bad, "reason"),
       {}});
}

int verify(const Context& c, const Flags& f) {
  const auto node = c.elsewhere();
  if (!node) return c.fail(node.error());
  Result<json::object> report;
  if (!node->empty()) {
    report = verify_remote(c, f.deep);
  } else {
    runtime::VerifyOptions o;
    o.decide_again = f.deep;
    report = verify_source(c, o);
    if (report) report->erase("findings");
  }
  if (report && c.kafka.empty())
    judge_views(node->empty() ? views_of_folder(c) : views_of_node(c), *report);
  if (!report) return c.fail(report.error());
  (*report)["decided_again"] = f.deep;
  return show(c, *report);
}

}  // namespace

void add_verify_commands(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* command =
      add_verb(app, context, run, "verify",
               "Check the journal: bytes, order, fence, sequences, chain, fold, snapshots, views",
               Effect::kRead, "soma verify --deep --data-dir .soma",
               [&context, f] { return verify(context, *f); });
  add_kafka_options(*command, context);
  command->add_flag("--deep", f->deep, "Decide everything again and compare");
  add_replay_verb(app, context, run);
}

}  // namespace soma::cli
