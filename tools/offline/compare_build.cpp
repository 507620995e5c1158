// Two builds over one journal, in step.
#include "tools/offline/compare_build.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <charconv>
#include <cstdio>
#include <iostream>

#include "runtime/verify/steps.h"
#include "schemas/json/json_read.h"
#include "tools/cli/progress.h"
#include "tools/offline/folder.h"
#include "tools/term/diff.h"
#include "tools/term/text.h"

extern char** environ;

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr int kReplayDiffers = 64, kVersionSkew = 6;
constexpr std::size_t kMostCompared = 20;      // groups whose first steps are compared in full
constexpr std::size_t kMostDifferences = 100;  // of one of them
constexpr std::size_t kMostShown = 5;          // of these, to people,
constexpr std::size_t kShownValue = 80;        // with so much of a value

std::vector<std::uint64_t> ends_of(const events::Log& log) {
  std::vector<std::uint64_t> out;
  for (std::uint32_t p = 0; p < log.partition_count(); ++p)
    out.push_back(log.end(PartitionId{p}).value);
  return out;
}

std::optional<std::vector<std::uint64_t>> parsed_ends(const std::string& text) {
  std::vector<std::uint64_t> out;
  for (const char *at = text.data(), *end = at + text.size(); at < end; ++at) {
    std::uint64_t n = 0;
    const auto r = std::from_chars(at, end, n);
    if (r.ec != std::errc{} || (r.ptr != end && *r.ptr != ',')) return {};
    out.push_back(n);
    at = r.ptr;
  }
  return out;
}

// Another soma that prints its steps; killed when it is no longer wanted.
class OtherBuild {
 public:
  // `whole`: steps to be told in full, instead of all in short.
  Status start(const Context& c, const std::string& path, const std::vector<std::uint64_t>& ends,
               const std::string& whole = {}) {
    std::string upto;
    for (const auto n : ends) upto += (upto.empty() ? "" : ",") + std::to_string(n);
    std::vector<std::string> words{path, "--offline", "replay", "--steps", "--ends", upto};
    for (const auto& [flag, value] : {std::pair{"--data-dir", c.folder()},
                                      {"--kafka", c.kafka},
                                      {"--kafka-topic-prefix", c.kafka_topic_prefix},
                                      {"--whole", whole}})
      if (!value.empty()) words.insert(words.end(), {flag, value});
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int ends_of_pipe[2];
    if (::pipe2(ends_of_pipe, O_CLOEXEC) != 0) return soma::fail(Code::kIo, "no pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends_of_pipe[1], 1);
    // A build that does not know --whole would complain to the user.
    if (!whole.empty()) posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const int failed = ::posix_spawn(&pid_, path.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends_of_pipe[1]);
    out_ = ::fdopen(ends_of_pipe[0], "r");
    if (failed != 0) {
      pid_ = -1;
      return soma::fail(Code::kNotFound, "cannot run " + path, "--compare-build");
    }
    return {};
  }
  ~OtherBuild() {
    if (out_) std::fclose(out_);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      finish();
    }
    ::free(line_);
  }
  OtherBuild() = default;
  OtherBuild(const OtherBuild&) = delete;
  OtherBuild& operator=(const OtherBuild&) = delete;

  std::string_view line() {  // empty: no more
    const auto n = ::getline(&line_, &room_, out_);
    return n > 0 ? std::string_view{line_, static_cast<std::size_t>(n)} : std::string_view();
  }
  std::optional<runtime::Step> next() {
    const auto text = line();
    return text.empty() ? std::nullopt : runtime::step_of(text);
  }
  bool at_end() { return std::fgetc(out_) == EOF; }
  int finish() {
    int status = 0;
    if (pid_ > 0) ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = -1;
  std::FILE* out_ = nullptr;
  char* line_ = nullptr;
  std::size_t room_ = 0;
};

int skewed(const Context& c, const std::string& build) {
  c.fail({Code::kVersionMismatch, build + " does not tell its steps as this build does", {}},
         "compare with a build that knows `soma replay --steps`");
  return kVersionSkew;
}

using Wholes = std::map<std::string, json::value>;  // by place

Wholes told_in_full(const Context& c, const std::string& build,
                    const std::vector<std::uint64_t>& ends, const std::string& places) {
  OtherBuild other;
  Wholes out;
  if (!other.start(c, build, ends, places)) return out;
  for (auto text = other.line(); !text.empty(); text = other.line()) {
    const json::value v = read_json(text).value_or(nullptr);
    if (v.is_object() && v.get_object().contains("whole")) out[text_of(v, "at")] = v.at("whole");
  }
  return out;
}

// What differs in the first step of each group, by field: `difference` there; null where the other
// build does not tell steps in full.
Status add_differences(const Context& c, const std::string& build, const events::Log& log,
                       const std::vector<std::uint64_t>& ends,
                       std::vector<runtime::StepPlace> firsts, json::object& report) {
  if (firsts.size() > kMostCompared) firsts.resize(kMostCompared);
  std::string places;
  for (const auto& p : firsts) places += (places.empty() ? "" : ",") + to_string(p);
  Wholes here;
  auto ok =
      runtime::each_step(log, *actors::standard_catalog(), ends,
                         [&](const runtime::Step& s) {
                           if (s.whole)
                             here[to_string(runtime::StepPlace{s.position, s.entry})] = *s.whole;
                           return here.size() < firsts.size();
                         },
                         {firsts.begin(), firsts.end()});
  if (!ok) return ok;
  auto there = told_in_full(c, build, ends, places);
  if (there.empty())
    c.note(build + " does not tell steps in full: what differs by field is not shown");
  auto& groups = report["groups"].as_array();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    auto& difference = groups[i].as_object()["difference"];
    if (i >= firsts.size()) continue;
    const std::string place = to_string(firsts[i]);
    const auto ours = here.find(place), theirs = there.find(place);
    if (ours == here.end() || theirs == there.end()) continue;
    auto all = diff(ours->second, theirs->second);
    if (all.size() > kMostDifferences) all.resize(kMostDifferences);
    difference = std::move(all);
  }
  return {};
}

void print_differences(const Context& c, const json::object& report) {
  for (const auto& g : report.at("groups").as_array()) {
    const auto* rows = g.as_object().if_contains("difference");
    if (!rows || !rows->is_array() || rows->get_array().empty()) continue;
    json::array first = rows->get_array();
    if (first.size() > kMostShown) first.resize(kMostShown);
    for (auto& row : first)
      for (const char* side : {"from", "to"})
        if (auto& v = row.as_object()[side]; !v.is_null()) v = cut(cell(&v), kShownValue);
    std::cout << "\n" << printable(text_of(g, "cause"), false) << "\n";
    c.print_list(first, {"change", "path", "from", "to"});
  }
  for (const auto& actor : report.at("broken").as_array())
    std::cout << "would break  " << printable(std::string(actor.as_string()), false) << "\n";
}

int judged(const Context& c, const runtime::BuildComparison& comparison, const std::string& build,
           const json::object& report) {
  if (c.table()) {
    std::cout << (comparison.same() ? "the same" : "DIFFERENT") << "  "
              << json::serialize(report.at("steps")) << " commands of "
              << json::serialize(report.at("actors")) << " actors; "
              << comparison.differing_actors() << " actors differ, "
              << json::serialize(report.at("broken_actors")) << " of them would break\n";
    json::array rows;
    for (const auto& g : report.at("groups").as_array()) {
      json::object row = g.as_object();
      const json::object first = row["first"].as_object();
      row["first"] = first.at("actor");
      row["position"] = first.at("position");
      row["sequence"] = first.at("sequence");
      rows.push_back(std::move(row));
    }
    if (!rows.empty())
      c.print_list(rows, {"kind", "cause", "actors", "first", "position", "sequence"});
    print_differences(c, report);
  } else {
    c.print(report);
  }
  if (comparison.same()) return 0;
  c.fail({Code::kConflict,
          build + " decides otherwise for " + std::to_string(comparison.differing_actors()) +
              " recorded actors",
          {}},
         "look at the first of each cause with `soma log get POSITION` before you deploy it");
  return kReplayDiffers;
}

}  // namespace

int print_steps(const Context& c, const std::string& text, const std::string& whole) {
  std::set<runtime::StepPlace> places;
  for (std::size_t from = 0; from < whole.size();) {
    const auto to = std::min(whole.find(',', from), whole.size());
    const auto place = runtime::parse_step_place(std::string_view(whole).substr(from, to - from));
    if (!place)
      return c.fail({Code::kInvalidArgument, "--whole takes places as 3/17:0,4/2:1", "--whole"});
    places.insert(*place);
    from = to + 1;
  }
  const auto given = parsed_ends(text);
  if (!given)
    return c.fail(
        {Code::kInvalidArgument, "--ends takes an offset a partition, as 12,34", "--ends"});
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  const auto print = [&](const runtime::Step& s) {
    if (places.empty())
      std::cout << runtime::to_line(s) << '\n';
    else if (s.whole)
      std::cout << json::object{{"at", to_string(runtime::StepPlace{s.position, s.entry})},
                                {"whole", *s.whole}}
                << '\n';
    return std::cout.good();
  };
  auto ok = runtime::each_step(**log, *actors::standard_catalog(),
                               text.empty() ? ends_of(**log) : *given, print, places);
  std::cout.flush();
  return ok ? 0 : c.fail(ok.error());
}

int compare_build(const Context& c, const std::string& build, const ReplayScope& scope) {
  const auto wanted = wanted_of(scope);
  if (!wanted) return c.fail(wanted.error());
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  const auto ends = ends_of(**log);
  OtherBuild other;
  if (auto started = other.start(c, build, ends); !started) return c.fail(started.error());
  std::uint64_t total = 0, done = 0;
  for (const auto n : ends) total += n;
  Progress progress("compare", total);
  runtime::BuildComparison comparison;
  bool in_step = true;
  auto ok =
      runtime::each_step(**log, *actors::standard_catalog(), ends, [&](const runtime::Step& here) {
        const auto there = other.next();
        const bool compared = !*wanted || (*wanted)(here.key, here.position, here.time_ms);
        in_step = there && comparison.take(here, *there, compared);
        if (here.entry == 0) progress.at(++done, total);
        return in_step;
      });
  progress.end();
  if (!ok) return c.fail(ok.error());
  if (!in_step || !other.at_end() || other.finish() != 0) return skewed(c, build);
  if (auto some = matched(scope, comparison.steps()); !some)
    return c.fail(some.error(), "see `soma actor list`");
  json::object report = comparison.report();
  if (!comparison.same())
    if (auto told = add_differences(c, build, **log, ends, comparison.firsts(), report); !told)
      return c.fail(told.error());
  return judged(c, comparison, build, report);
}

}  // namespace soma::cli
