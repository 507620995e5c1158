// Restate filled, restarted and waited for.
#include <boost/json.hpp>

#include "tools/bench/host_peers.h"
#include "tools/bench/stack.h"
#include "tools/bench/timer_plan.h"

namespace soma::bench {

namespace json = boost::json;

namespace {

constexpr std::size_t kArmedAtOnce = 500;  // in one call: its journal holds them all
constexpr auto kPatience = std::chrono::seconds(60);

// The counter's value after one more addition; nothing while the server does not answer.
std::optional<std::string> add_to(std::uint16_t port, const std::string& key) {
  auto r = http_once(port, http_request("POST", "/counter/" + key + "/add", "1"));
  if (!r || r->first != 200) return {};
  return r->second;
}

// Until it answers; polled, as nothing tells.
Result<std::string> first_answer(std::uint16_t port, const std::string& key) {
  for (const auto began = Clock::now(); Clock::now() - began < kPatience;) {
    if (auto value = add_to(port, key)) return *value;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fail(Code::kUnavailable, "Restate did not answer within a minute of its start");
}

Result<double> fill(const Options& o, std::uint16_t port) {
  std::size_t next = 0;
  HttpScript s;
  s.port = port;
  s.clients = 128;
  s.warm_s = 0;
  s.seconds = 2;
  s.begin = [&](std::size_t) {
    return http_request("POST", "/counter/c" + std::to_string(next++ % o.amount) + "/add", "1");
  };
  s.good = [](const HttpAnswer& a) { return a.status == 200; };
  const auto began = Clock::now();
  while (next < o.amount) {
    auto load = run_http(s);
    if (!load) return tl::unexpected(load.error());
    if (load->errors > 0)
      return fail(Code::kUnavailable, "Restate refused an addition: " + load->first_error);
  }
  return static_cast<double>(next) / ms_since(began) * 1000;
}

Result<json::object> told(std::uint16_t port) {
  auto r = http_once(port, http_request("GET", "/"));
  if (!r) return tl::unexpected(r.error());
  boost::system::error_code bad;
  json::value v = json::parse(r->second, bad);
  if (bad || !v.is_object()) return fail(Code::kUnavailable, "Restate's timers: " + r->second);
  return v.get_object();
}

Status arm(std::uint16_t port, const TimerPlan& plan, std::size_t timers) {
  for (std::size_t i = 0; i < timers;) {
    json::array all;
    for (; i < timers && all.size() < kArmedAtOnce; ++i)
      all.push_back({{"i", i}, {"due", plan.due_ms(i)}, {"at_once", plan.at_once(i)}});
    auto r = http_once(port, http_request("POST", "/timer/arm", json::serialize(all)));
    if (!r) return tl::unexpected(r.error());
    if (r->first != 200) return fail(Code::kUnavailable, "Restate armed no timers: " + r->second);
  }
  return {};
}

}  // namespace

Result<RestateRestart> restart_restate(const Options& o) {
  auto server = RestateServer::start(o);
  if (!server) return tl::unexpected(server.error());
  RestateServer& restate = **server;
  if (auto first = first_answer(restate.port(), "first"); !first)
    return tl::unexpected(first.error());
  auto rate = fill(o, restate.port());
  if (!rate) return tl::unexpected(rate.error());
  RestateRestart out;
  out.fill_ops_per_s = *rate;
  restate.stop();
  const auto began = Clock::now();
  if (auto ok = restate.restart(); !ok) return tl::unexpected(ok.error());
  const auto value = first_answer(restate.port(), "first");
  if (!value) return tl::unexpected(value.error());
  out.first_answer_ms = ms_since(began);
  out.rss_mb = usage_of(restate.pids()).rss_mb;
  if (*value != "2")
    return fail(Code::kInternal, "Restate's counter is at " + *value + " after two additions");
  return out;
}

Result<RestateTimers> run_restate_timers(const Options& o, std::int64_t spread_s,
                                         std::int64_t arming_s) {
  auto server = RestateServer::start(o);
  if (!server) return tl::unexpected(server.error());
  RestateServer& restate = **server;
  const TimerPlan plan(o.amount, wall_ms() + arming_s * 1000, spread_s * 1000);
  if (auto ok = arm(restate.port(), plan, o.amount); !ok) return tl::unexpected(ok.error());
  if (auto ok = restate.restart(); !ok) return tl::unexpected(ok.error());
  if (auto answer = first_answer(restate.port(), "first"); !answer)
    return tl::unexpected(answer.error());
  if (wall_ms() >= plan.first_ms())
    return fail(Code::kInvalidArgument, "arming Restate's timers took longer than " +
                                            std::to_string(arming_s) + " s: take fewer timers");
  const double cpu = usage_of(restate.pids()).cpu_s;
  Result<json::object> said;
  const auto end = Clock::now() + std::chrono::seconds(arming_s + spread_s) + kPatience;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    said = told(restate.told_port());
    if (!said) return tl::unexpected(said.error());
  } while (said->at("fired").to_number<std::size_t>() < o.amount && Clock::now() < end);
  const auto of = [&](const char* name) { return said->at(name).to_number<double>(); };
  if (of("fired") < static_cast<double>(o.amount) || of("early") > 0)
    return fail(Code::kInternal, "Restate's timers: " + json::serialize(*said));
  RestateTimers out;
  out.lateness = {
      .rated = false, .p50_ms = of("p50_ms"), .p99_ms = of("p99_ms"), .p999_ms = of("p999_ms")};
  const Usage used = usage_of(restate.pids());
  out.lateness.cpu_s = used.cpu_s - cpu;
  out.lateness.rss_mb = used.rss_mb;
  out.instant_p99_ms = of("instant_p99_ms");
  return out;
}

}  // namespace soma::bench
