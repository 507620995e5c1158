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
#include "tools/cli/progress.h"
#include "tools/offline/folder.h"

extern char** environ;

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr int kReplayDiffers = 64, kVersionSkew = 6;

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
  Status start(const Context& c, const std::string& path, const std::vector<std::uint64_t>& ends) {
    std::string upto;
    for (const auto n : ends) upto += (upto.empty() ? "" : ",") + std::to_string(n);
    std::vector<std::string> words{path, "--offline", "replay", "--steps", "--ends", upto};
    for (const auto& [flag, value] : {std::pair{"--data-dir", c.folder()},
                                      {"--kafka", c.kafka},
                                      {"--kafka-topic-prefix", c.kafka_topic_prefix}})
      if (!value.empty()) words.insert(words.end(), {flag, value});
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int ends_of_pipe[2];
    if (::pipe2(ends_of_pipe, O_CLOEXEC) != 0) return soma::fail(Code::kIo, "no pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends_of_pipe[1], 1);
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

  std::optional<runtime::Step> next() {
    const auto n = ::getline(&line_, &room_, out_);
    return n > 0 ? runtime::step_of({line_, static_cast<std::size_t>(n)}) : std::nullopt;
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

int judged(const Context& c, const runtime::BuildComparison& comparison, const std::string& build) {
  const auto report = comparison.report();
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

int print_steps(const Context& c, const std::string& text) {
  const auto given = parsed_ends(text);
  if (!given)
    return c.fail(
        {Code::kInvalidArgument, "--ends takes an offset a partition, as 12,34", "--ends"});
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  auto ok = runtime::each_step(**log, *actors::standard_catalog(),
                               text.empty() ? ends_of(**log) : *given, [](const runtime::Step& s) {
                                 std::cout << runtime::to_line(s) << '\n';
                                 return std::cout.good();
                               });
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
  return judged(c, comparison, build);
}

}  // namespace soma::cli
