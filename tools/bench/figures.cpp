// Buckets, medians and the two shapes of a result.
#include "tools/bench/figures.h"

#include <sys/utsname.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <thread>

namespace soma::bench {

namespace json = boost::json;

namespace {

double rounded(double v) {
  char text[64];
  std::snprintf(text, sizeof text, v >= 100 ? "%.0f" : "%.3g", v);
  return std::strtod(text, nullptr);
}

json::object side(const Figures& f) {
  const auto ms = [&](double v) {
    return f.timed ? json::value(rounded(v)) : json::value(nullptr);
  };
  const auto known = [](double v) {  // nothing that was measured is nothing
    return v > 0 ? json::value(rounded(v)) : json::value(nullptr);
  };
  return {{"ops", f.rated ? json::value(rounded(f.ops)) : json::value(nullptr)},
          {"p50_ms", ms(f.p50_ms)},
          {"p99_ms", ms(f.p99_ms)},
          {"p999_ms", ms(f.p999_ms)},
          {"cpu_s", known(f.cpu_s)},
          {"rss_mb", known(f.rss_mb)}};
}

// Ours to the peer's of what both measured; null where one did not.
json::object ratio(const Figures& ours, const Figures& peer) {
  const auto of = [](bool measured, double mine, double its) {
    return measured && its > 0 ? json::value(rounded(mine / its)) : json::value(nullptr);
  };
  return {{"ops", of(ours.rated && peer.rated, ours.ops, peer.ops)},
          {"p99", of(ours.timed && peer.timed, ours.p99_ms, peer.p99_ms)}};
}

std::string row(const char* name, const Figures& f) {
  char text[200], ops[24] = "-", ms[40] = "        -         -         -";
  if (f.rated) std::snprintf(ops, sizeof ops, "%.0f", f.ops);
  if (f.timed) std::snprintf(ms, sizeof ms, "%9.3f %9.3f %9.3f", f.p50_ms, f.p99_ms, f.p999_ms);
  std::snprintf(text, sizeof text, "%-14s %10s %s %7.1f %7.0f\n", name, ops, ms, f.cpu_s, f.rss_mb);
  return text;
}

}  // namespace

void Histogram::add(std::uint64_t ns) {
  // Units of 1/32 us: values below 2 us fall into the first two octaves whole.
  const std::uint64_t v = std::max<std::uint64_t>(ns / 32, 1);
  const auto octave = static_cast<std::size_t>(std::bit_width(v) - 1);
  const std::size_t step =
      octave >= 5 ? (v >> (octave - 5)) - kSteps : (v << (5 - octave)) - kSteps;
  buckets_[std::min(octave * kSteps + step, buckets_.size() - 1)]++;
  ++count_;
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
}

double Histogram::at_ms(double share) const {
  if (count_ == 0) return 0;
  const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen <= wanted && seen < count_) continue;
    const double octave = static_cast<double>(1ULL << (i / kSteps));
    return octave * (1 + static_cast<double>(i % kSteps + 1) / kSteps) * 32 / 1e6;
  }
  return 0;
}

Figures figures_of(const Histogram& h, double seconds) {
  Figures f;
  f.ops = static_cast<double>(h.count()) / seconds;
  f.p50_ms = h.at_ms(0.5);
  f.p99_ms = h.at_ms(0.99);
  f.p999_ms = h.at_ms(0.999);
  return f;
}

Status did_something(const Figures& f, const std::string& side) {
  if (f.ops > 0) return {};
  return fail(
      Code::kUnavailable,
      side + " completed nothing in the measured time: nothing can be told; give more --seconds",
      "--seconds");
}

Figures median(std::vector<Figures> runs) {
  const auto of = [&](auto member) {
    std::vector<double> values;
    for (const auto& r : runs) values.push_back(static_cast<double>(r.*member));
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  Figures f;
  f.rated = runs.front().rated;
  f.timed = runs.front().timed;
  f.ops = of(&Figures::ops);
  f.p50_ms = of(&Figures::p50_ms);
  f.p99_ms = of(&Figures::p99_ms);
  f.p999_ms = of(&Figures::p999_ms);
  f.cpu_s = of(&Figures::cpu_s);
  f.rss_mb = of(&Figures::rss_mb);
  for (const auto& r : runs) f.errors += r.errors;
  return f;
}

std::string machine() {
  std::string cpu = "unknown processor", line;
  for (std::ifstream in("/proc/cpuinfo"); std::getline(in, line);)
    if (line.starts_with("model name")) {
      cpu = line.substr(line.find(':') + 2);
      break;
    }
  utsname kernel{};
  ::uname(&kernel);
  return std::to_string(std::thread::hardware_concurrency()) + " x " + cpu + ", Linux " +
         std::string(kernel.release).substr(0, std::string(kernel.release).find('-'));
}

json::object to_json(const Outcome& o) {
  char when[40];
  const std::time_t now = std::time(nullptr);
  std::tm tm{};
  gmtime_r(&now, &tm);
  std::strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
  const bool peer = !o.peer_name.empty();
  json::object out{
      {"bench", o.bench},
      {"when", when},
      {"machine", machine()},
      {"durability",
       {{"ours", o.durability_ours}, {"peer", peer ? json::value(o.durability_peer) : nullptr}}},
      {"clients", o.clients},
      {"seconds", o.seconds},
      {"ours", side(o.ours)},
      {"peer", peer ? json::value(side(o.peer)) : nullptr},
      {"ratio", peer ? json::value(ratio(o.ours, o.peer)) : nullptr}};
  if (peer) out["peer_name"] = o.peer_name;
  for (const auto& [name, value] : o.extra) out[name] = rounded(value);
  return out;
}

std::string to_table(const Outcome& o) {
  std::string out = o.bench + ", " + std::to_string(o.clients) + " at a time, " +
                    std::to_string(static_cast<int>(o.seconds)) + " s a run; " + machine() + "\n";
  char head[200];
  std::snprintf(head, sizeof head, "%-14s %10s %9s %9s %9s %7s %7s\n", "", "ops/s", "p50 ms",
                "p99 ms", "p999 ms", "cpu s", "rss MB");
  out += head + row("somastack", o.ours);
  out += "  durability: " + o.durability_ours + "\n";
  if (!o.peer_name.empty()) {
    out += row(o.peer_name.c_str(), o.peer);
    out += "  durability: " + o.durability_peer + "\n";
    const json::object both = ratio(o.ours, o.peer);
    char text[120] = "";
    if (const auto* x = both.at("ops").if_double())
      std::snprintf(text, sizeof text, "ratio          %10.1f x its ops\n", *x);
    out += text;
    text[0] = '\0';
    if (const auto* x = both.at("p99").if_double())
      std::snprintf(text, sizeof text, "ratio          %10.3f of its p99\n", *x);
    out += text;
  }
  for (const auto& [name, value] : o.extra) {
    char text[160];
    std::snprintf(text, sizeof text, "  %s: %.4g\n", name.c_str(), value);
    out += text;
  }
  return out;
}

}  // namespace soma::bench
