// What the flags ask for, how it goes, what came out.
#include "tools/offline/replay_command.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <iostream>
#include <thread>

#include "schemas/json/json_text.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/progress.h"
#include "tools/offline/compare_build.h"
#include "tools/offline/folder.h"
#include "tools/offline/replay_checkpoint.h"
#include "tools/offline/replay_scope.h"
#include "tools/offline/verify_folder.h"

namespace soma::cli {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kReplayDiffers = 64;
constexpr std::size_t kMostShown = 100;
constexpr auto kBetweenCheckpoints = std::chrono::seconds(5);

struct Flags {
  bool steps = false;
  ReplayScope scope;
  std::string ends, whole, other_build, checkpoint, resume;
  unsigned jobs = 0;
};

struct Totals {
  std::uint64_t records = 0, frames = 0, events = 0, commands = 0, erased = 0, parked = 0,
                voided = 0;
};
Totals totals(const std::vector<runtime::ReplayedPartition>& partitions) {
  Totals t;
  for (const auto& p : partitions) {
    t.records += p.next.value;
    t.frames += p.frames;
    t.events += p.events;
    t.commands += p.commands;
    t.erased += p.erased;
    t.parked += p.parked;
    t.voided += p.voided;
  }
  return t;
}

class Run {
 public:
  Run(const Context& c, const Flags& f, const events::Log& log) : c_(c), f_(f), log_(log) {
    for (std::uint32_t p = 0; p < log.partition_count(); ++p)
      total_ += log.end(PartitionId{p}).value;
  }

  Result<runtime::ReplayReport> go() {
    identity_ = {build_digest(*catalog_), to_string(f_.scope)};
    runtime::ReplayOptions o;
    o.jobs = f_.jobs != 0 ? f_.jobs : std::max(1u, std::thread::hardware_concurrency());
    jobs = o.jobs;
    auto wanted = wanted_of(f_.scope);
    if (!wanted) return tl::unexpected(wanted.error());
    o.wanted = std::move(*wanted);
    if (!f_.resume.empty()) {
      auto from = read_checkpoint(f_.resume, identity_);
      if (!from) return tl::unexpected(from.error());
      o.from = std::move(*from);
      before_ = totals(o.from);
    }
    file_ = f_.checkpoint.empty() ? f_.resume : f_.checkpoint;
    if (!file_.empty()) hear_interrupts();
    Progress progress("replay", total_);
    o.on_progress = [&](const auto& so_far) { on_progress(progress, so_far); };
    if (!file_.empty()) o.stopped = interrupted;
    auto report = runtime::replay_journal(log_, *catalog_, o);
    progress.end();
    seconds = std::chrono::duration<double>(Clock::now() - began_).count();
    if (report && !file_.empty())
      if (auto ok = write_checkpoint(file_, identity_, report->partitions); !ok)
        return tl::unexpected(ok.error());
    if (report) rate = per_second(totals(report->partitions));
    return report;
  }

  unsigned jobs = 1;
  double seconds = 0;
  std::uint64_t rate = 0;  // events a second, of this run

 private:
  std::uint64_t per_second(const Totals& now) const {
    const double s = std::chrono::duration<double>(Clock::now() - began_).count();
    return s > 0 ? static_cast<std::uint64_t>(static_cast<double>(now.events - before_.events) / s)
                 : 0;
  }

  void on_progress(Progress& progress, const std::vector<runtime::ReplayedPartition>& so_far) {
    const Totals now = totals(so_far);
    progress.at(now.records, total_, std::to_string(per_second(now)) + " events/s");
    if (!file_.empty() && Clock::now() - written_ > kBetweenCheckpoints) {
      written_ = Clock::now();
      if (auto ok = write_checkpoint(file_, identity_, so_far); !ok) c_.note(ok.error().message);
    }
  }

  const Context& c_;
  const Flags& f_;
  const events::Log& log_;
  const std::unique_ptr<actors::Catalog> catalog_ = actors::standard_catalog();
  ReplayIdentity identity_;
  std::string file_;  // of checkpoints; empty: none are written
  std::uint64_t total_ = 0;
  Totals before_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point written_ = began_;
};

json::object shown(const ActorKey& key, const runtime::Divergence& d) {
  return {{"actor", to_string(key)},    {"partition", d.at.partition.value},
          {"frame", d.at.offset.value}, {"sequence", d.sequence},
          {"commands", d.commands},     {"reason", d.what},
          {"invariant", "I14"}};
}

int show(const Context& c, const runtime::ReplayReport& report, const Run& run,
         const std::string& checkpoint) {
  const Totals t = totals(report.partitions);
  json::array divergences;
  std::size_t differing = 0;
  for (const auto& p : report.partitions)
    for (const auto& [key, d] : p.divergences)
      if (++differing <= kMostShown) divergences.push_back(shown(key, d));
  const json::object out{{"ok", differing == 0 && !report.stopped},
                         {"frames", t.frames},
                         {"events", t.events},
                         {"partitions", report.partitions.size()},
                         {"actors", report.actors},
                         {"first_bad", nullptr},
                         {"commands", t.commands},
                         {"erased", t.erased},
                         {"parked", t.parked},
                         {"voided", t.voided},
                         {"decided_again", true},
                         {"stopped", report.stopped},
                         {"jobs", run.jobs},
                         {"seconds", run.seconds},
                         {"events_per_s", run.rate},
                         {"actors_differing", differing},
                         {"divergences", divergences}};
  if (c.table()) {
    std::cout << verified_summary(out) << "speed      " << run.rate << " events/s, " << run.jobs
              << (run.jobs == 1 ? " job\n" : " jobs\n");
    if (!divergences.empty())
      c.print_list(divergences, {"actor", "partition", "frame", "sequence", "reason"},
                   {"commands"});
  } else {
    c.print(out);
  }
  if (differing > kMostShown)
    c.note("shown: the first " + std::to_string(kMostShown) + " of " + std::to_string(differing));
  if (differing > 0) {
    c.fail(
        {Code::kConflict,
         std::to_string(differing) + " actors' recorded decisions come out otherwise in this build",
         {}},
        "look at the first with `soma log get PARTITION/FRAME`; do not deploy this build on these "
        "data");
    return kReplayDiffers;
  }
  if (!report.stopped) return 0;
  return c.fail({Code::kUnavailable, "stopped before the end", {}},
                "go on with `soma replay --resume " + checkpoint + "`");
}

int replay(const Context& c, const Flags& f) {
  if (f.steps) return print_steps(c, f.ends, f.whole);
  if (!f.other_build.empty()) return compare_build(c, f.other_build, f.scope);
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  Run run(c, f, **log);
  auto report = run.go();
  if (!report) return c.fail(report.error());
  // One writer makes no void records: something is broken, and `verify` names the place.
  if (c.kafka.empty() && totals(report->partitions).voided > 0) {
    auto checked = verify_folder(c.folder(), {});
    if (checked && !checked->at("ok").as_bool()) {
      if (c.table())
        std::cout << verified_summary(*checked) << std::flush;
      else
        c.print(*checked);
      return c.fail({Code::kCorrupt, "the journal does not verify", {}}, "see `soma verify`");
    }
  }
  const Totals t = totals(report->partitions);
  if (auto some = matched(f.scope, t.commands + t.erased + t.parked); !some && !report->stopped)
    return c.fail(some.error(), "see `soma actor list`");
  return show(c, *report, run, f.checkpoint.empty() ? f.resume : f.checkpoint);
}

}  // namespace

void add_replay_verb(CLI::App& app, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* again = add_verb(
      app, context, run, "replay",
      "Decide and fold the whole journal again, and show where this build differs", Effect::kRead,
      "soma replay --actor demo/session/SESSION_ID", [&context, f] { return replay(context, *f); });
  add_kafka_options(*again, context);
  auto* other =
      again
          ->add_option("--compare-build", f->other_build,
                       "Compare with what this other soma makes of the journal; 64 when it differs")
          ->type_name("PATH");
  auto* steps = again->add_flag("--steps", f->steps,
                                "Print what this build makes of each command, with digests");
  steps->excludes(other);
  again->add_option("--ends", f->ends, "Of --steps: an offset a partition, as 12,34")
      ->needs(steps)
      ->type_name("OFFSETS");
  again->add_option("--whole", f->whole, "Of --steps: these alone, in full, as 3/17:0,4/2:1")
      ->needs(steps)
      ->type_name("PLACES");
  const auto narrowing = [&](const char* name, std::string& value, const char* help,
                             const char* type) {
    again->add_option(name, value, help)->excludes(steps)->type_name(type);
  };
  narrowing("--from", f->scope.from, "Decide only from this position or UTC time on", "AT");
  narrowing("--to", f->scope.to, "Decide only up to it", "AT");
  narrowing("--actor", f->scope.actor, "Decide only this one's", "TENANT/TYPE/ID");
  narrowing("--tenant", f->scope.tenant, "Decide only this one's", "TENANT");
  const auto alone = [&](CLI::Option* option) { return option->excludes(steps)->excludes(other); };
  alone(again->add_option("--jobs", f->jobs, "Partitions at a time (default: one a processor)"))
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  alone(again->add_option("--checkpoint", f->checkpoint,
                          "Write down here every few seconds, and on Ctrl-C, how far it came"))
      ->type_name("FILE");
  alone(again->add_option("--resume", f->resume, "Go on from this checkpoint, and write there"))
      ->type_name("FILE");
}

}  // namespace soma::cli
