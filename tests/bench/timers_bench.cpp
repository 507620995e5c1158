// B9: many durable timers are armed, the host goes and comes back, and each fires once. Lateness is
// from a timer's time until its firing is durable.
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>

#include "tools/bench/host_runs.h"

namespace soma::bench {
namespace {

int wrong(const char* what) {
  std::fprintf(stderr, "timers_bench: %s\n", what);
  return 1;
}

int run(std::size_t timers, std::int64_t spread_s, std::int64_t arming_s) {
  Options o;
  o.amount = timers;
  const auto r = run_timers(o, spread_s, arming_s);
  if (!r) return wrong(r.error().message.c_str());
  boost::json::object out{{"bench", "timers"},
                          {"machine", machine()},
                          {"timers", timers},
                          {"spread_s", spread_s},
                          {"armed_per_s", static_cast<std::int64_t>(r->armed_per_s)},
                          {"restart_ms", r->restart_ms},
                          {"rss_mb", r->rss_mb},
                          {"fired", r->fired},
                          {"twice", r->twice},
                          {"early", r->early}};
  for (const auto& [name, h] : {std::pair{"others", &r->others}, std::pair{"instant", &r->instant},
                                std::pair{"all", &r->all}})
    out[name] = boost::json::object{
        {"p50_ms", h->at_ms(0.5)}, {"p99_ms", h->at_ms(0.99)}, {"max_ms", h->at_ms(1)}};
  std::printf("%s\n", boost::json::serialize(out).c_str());
  const bool each_once = r->each_once(timers);
  std::fprintf(stderr, "GATE B9 %.1f 50 %s\n", r->all.at_ms(0.99),
               r->all.at_ms(0.99) <= 50 && each_once ? "PASS" : "FAIL");
  return each_once ? 0 : wrong("not every timer fired once, at its time");
}

}  // namespace
}  // namespace soma::bench

int main(int argc, char** argv) {
  const long timers = argc > 1 ? std::atol(argv[1]) : 1'000'000;
  const long spread = argc > 2 ? std::atol(argv[2]) : 60;
  const long arming = argc > 3 ? std::atol(argv[3]) : 10 + timers / 20'000;
  if (timers < 10 || timers > 10'000'000 || spread < 1 || spread > 3600 || arming < 1 ||
      arming > 3600) {
    std::fprintf(stderr, "usage: timers_bench [TIMERS] [SPREAD_S] [ARMING_S]\n");
    return 2;
  }
  return soma::bench::run(static_cast<std::size_t>(timers), spread, arming);
}
