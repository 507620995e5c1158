// B5 and B8: many actors are written, the host goes, and comes back; memory by actor, active and
// idle.
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>

#include "tools/bench/host_runs.h"

namespace soma::bench {
namespace {

int run(std::size_t actors, std::size_t each, const std::string& kept) {
  Options o;
  o.amount = actors;
  const auto r = run_actors(o, each, kept);
  if (!r) {
    std::fprintf(stderr, "restart_bench: %s\n", r.error().message.c_str());
    return 1;
  }
  const boost::json::object out{
      {"bench", "restart"},
      {"machine", machine()},
      {"actors", r->actors},
      {"events", r->events},
      {"fill_events_per_s", static_cast<std::int64_t>(r->fill_events_per_s)},
      {"bytes_per_active_actor", static_cast<std::int64_t>(r->bytes_per_active)},
      {"bytes_per_idle_actor", static_cast<std::int64_t>(r->bytes_per_idle)},
      {"open_log_ms", r->open_log_ms},
      {"open_store_ms", r->open_store_ms},
      {"first_answer_ms", r->first_answer_ms}};
  std::printf("%s\n", boost::json::serialize(out).c_str());
  std::fprintf(stderr, "GATE B5 %.0f 300 %s\n", r->first_answer_ms,
               r->first_answer_ms <= 300 ? "PASS" : "FAIL");
  std::fprintf(stderr, "GATE B8 %.0f 400 %s\n", r->bytes_per_idle,
               r->bytes_per_idle <= 400 ? "PASS" : "FAIL");
  return 0;
}

}  // namespace
}  // namespace soma::bench

int main(int argc, char** argv) {
  const long actors = argc > 1 ? std::atol(argv[1]) : 100'000;
  const long each = argc > 2 ? std::atol(argv[2]) : 1;
  if (actors < 1 || actors > 10'000'000 || each < 1 || each > 1000) {
    std::fprintf(stderr, "usage: restart_bench [ACTORS] [EVENTS_EACH] [KEPT_FOLDER]\n");
    return 2;
  }
  return soma::bench::run(static_cast<std::size_t>(actors), static_cast<std::size_t>(each),
                          argc > 3 ? argv[3] : "");
}
