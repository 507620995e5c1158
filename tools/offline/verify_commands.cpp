// soma verify and soma replay.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "runtime/api/journal_views.h"
#include "schemas/json/json_text.h"
#include "tools/cli/discovery.h"
#include "tools/cli/progress.h"
#include "tools/cli/verbs.h"
#include "tools/offline/compare_build.h"
#include "tools/offline/folder.h"
#include "tools/offline/verify_folder.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostDivergences = 100;
constexpr int kReplayDiffers = 64;

struct Flags {
  bool deep = false;
  bool steps = false;
  std::string from, to, actor, ends, other_build;
};

// A remote node reads its own journal and tells how it goes.
Result<json::object> verify_remote(const Context& c, bool deep) {
  Progress progress("verify", 0);
  json::object report;
  auto followed = c.follow(std::string("/v1/admin/verify") + (deep ? "?deep=true" : ""),
                           [&](std::string_view name, std::string_view data) {
                             const json::value v = json::parse(data);
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
  auto log = offline::open_cluster(c.kafka, c.kafka_topic_prefix);
  if (!log) return tl::unexpected(log.error());
  o.single_writer = false;
  return verify_log(**log, std::move(o));
}

// Views are derived: asked of the node, where one serves this folder.
json::value projections_state(const Context& c) {
  const auto endpoints = endpoints_of(c.folder());
  if (!endpoints || !endpoints->alive || c.offline) return "not checked: no node is running";
  auto r = c.call("GET", "/v1/admin/projections/verify");
  if (!r) return json::value("not checked: " + r.error().message);
  return *r;
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
  const bool remote = c.kafka.empty() && (!c.server.empty() || !environment("SOMA_SERVER").empty());
  Result<json::object> report;
  if (remote && c.data_dir.empty()) {
    report = verify_remote(c, f.deep);
  } else {
    runtime::VerifyOptions o;
    o.decide_again = f.deep;
    report = verify_source(c, o);
    if (report) report->erase("findings");
    if (report && c.kafka.empty()) {
      json::value views = projections_state(c);
      if (report->at("ok").as_bool() && views.is_object() && views.get_object().contains("ok") &&
          !views.at("ok").as_bool()) {
        (*report)["ok"] = false;
        (*report)["first_bad"] =
            json::object{{"file", nullptr},
                         {"offset", nullptr},
                         {"partition", nullptr},
                         {"frame", nullptr},
                         {"reason", "the views in Postgres are not what the journal makes"},
                         {"invariant", "I10"}};
      }
      (*report)["projections"] = std::move(views);
    }
  }
  if (!report) return c.fail(report.error());
  (*report)["decided_again"] = f.deep;
  return show(c, *report);
}

// Decides everything again, since a state needs all that came before; shows what lies in the range.
int replay(const Context& c, const Flags& f) {
  if (f.steps) return print_steps(c, f.ends);
  if (!f.other_build.empty()) return compare_build(c, f.other_build);
  auto from = runtime::views::parse_at(f.from), to = runtime::views::parse_at(f.to);
  if (!from || from->sequence || !to || to->sequence)
    return c.fail({Code::kInvalidArgument,
                   "--from and --to take a position as 3/17, or a UTC time as 2026-01-31T10:00:00Z",
                   "--from"});
  runtime::VerifyOptions o;
  o.decide_again = true;
  o.most_findings = kMostDivergences;
  o.counts = [&](const checks::Finding& finding) {
    const auto within = [&](const std::optional<Position>& p, bool lower) {
      if (!p || finding.at.partition != p->partition) return !p.has_value();
      return lower ? finding.at.offset >= p->offset : finding.at.offset <= p->offset;
    };
    return within(from->position, true) && within(to->position, false) &&
           (f.actor.empty() || finding.what.find(f.actor) != std::string::npos);
  };
  auto report = verify_source(c, o);
  if (!report) return c.fail(report.error());
  (*report)["decided_again"] = true;
  json::array all =
      report->contains("findings") ? report->at("findings").as_array() : json::array{};
  bool damaged = report->at("first_bad").is_object() && all.empty();
  json::array divergences;
  for (const auto& finding : all) {
    const auto at = runtime::views::parse_iso_time(text_of(finding, "time"));
    if ((from->time_ms && at && *at < *from->time_ms) || (to->time_ms && at && *at > *to->time_ms))
      continue;
    if (text_of(finding, "invariant") == "I14")
      divergences.push_back(finding);
    else
      damaged = true;
  }
  report->erase("findings");
  (*report)["divergences"] = divergences;
  if (damaged) return show(c, *report);
  if (c.table()) {
    std::cout << verified_summary(*report);
    if (!divergences.empty())
      c.print_list(divergences, {"partition", "frame", "reason"}, {"file", "offset"});
  } else {
    c.print(*report);
  }
  if (divergences.empty()) return 0;
  c.fail(
      {Code::kConflict,
       std::to_string(divergences.size()) + " recorded decisions come out otherwise in this build",
       {}},
      "look at the first with `soma log get PARTITION/FRAME`; do not deploy this build on these "
      "data");
  return kReplayDiffers;
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
  auto* again = add_verb(
      app, context, run, "replay",
      "Decide and fold the whole journal again, and show where this build differs", Effect::kRead,
      "soma replay --actor demo/session/SESSION_ID", [&context, f] { return replay(context, *f); });
  add_kafka_options(*again, context);
  again->add_option("--from", f->from, "Show only from this position or UTC time on")
      ->type_name("AT");
  again->add_option("--to", f->to, "Show only up to it")->type_name("AT");
  again
      ->add_option("--compare-build", f->other_build,
                   "Compare with what this other soma makes of the journal; 64 when it differs")
      ->type_name("PATH");
  again->add_flag("--steps", f->steps, "Print what this build makes of each command, with digests");
  again->add_option("--ends", f->ends, "Of --steps: an offset a partition, as 12,34")
      ->type_name("OFFSETS");
  again->add_option("--actor", f->actor, "Show only this one")->type_name("TENANT/TYPE/ID");
}

}  // namespace soma::cli
