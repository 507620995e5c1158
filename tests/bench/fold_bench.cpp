// B6: how fast one core folds a log: read, judged by the fence, parsed, evolved.
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>

#include "tools/bench/host_runs.h"

namespace soma::bench {
namespace {

int run(std::size_t count) {
  Options o;
  o.amount = count;
  const auto fold = run_fold(o);
  if (!fold) {
    std::fprintf(stderr, "fold_bench: %s\n", fold.error().message.c_str());
    return 1;
  }
  const double n = static_cast<double>(fold->events), a_core = n / fold->cpu_s;
  std::printf("%s\n", boost::json::serialize(
                          boost::json::object{
                              {"bench", "fold"},
                              {"machine", machine()},
                              {"events", fold->events},
                              {"events_per_s", static_cast<std::int64_t>(n / fold->seconds)},
                              {"events_per_core_s", static_cast<std::int64_t>(a_core)}})
                          .c_str());
  std::fprintf(stderr, "GATE B6 %.0f 1000000 %s\n", a_core, a_core >= 1e6 ? "PASS" : "FAIL");
  return 0;
}

}  // namespace
}  // namespace soma::bench

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 1'000'000;
  if (count < 100 || count > 100'000'000) {
    std::fprintf(stderr, "usage: fold_bench [EVENTS]   (100 to 100,000,000)\n");
    return 2;
  }
  return soma::bench::run(static_cast<std::size_t>(count));
}
