// B7: governed sessions are recorded, then all views are made anew from the journal, on the real
// PostgreSQL of the node.
#include <boost/json.hpp>
#include <chrono>
#include <thread>

#include "tools/bench/governed_load.h"
#include "tools/bench/pekko.h"

namespace soma::bench {

namespace json = boost::json;

namespace {

constexpr double kGateRows = 100'000;
constexpr auto kPatience = std::chrono::minutes(5);
constexpr auto kBetweenLooks = std::chrono::milliseconds(50);

Result<json::object> ask(std::uint16_t port, const char* method, const std::string& path) {
  auto r = http_once(port, http_request(method, "/v1/admin/projections" + path));
  if (!r) return tl::unexpected(r.error());
  if (r->first >= 300) return fail(Code::kUnavailable, "the views: " + r->second);
  boost::system::error_code bad;
  json::value v = json::parse(r->second, bad);
  if (bad || !v.is_object()) return fail(Code::kInternal, "the views said: " + r->second);
  return v.get_object();
}

// The report, once `good` is content with it.
template <typename Good>
Result<json::object> await(std::uint16_t port, const char* what, const Good& good) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    auto report = ask(port, "GET", "");
    if (!report || good(*report)) return report;
    if (std::chrono::steady_clock::now() > end)
      return fail(Code::kUnavailable, std::string(what) + " took longer than five minutes");
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

struct Run {
  Figures figures;
  double sessions = 0;  // begun, also while warming up: all are in the rows
  double rows = 0, seconds = 0, verify_s = 0;
};

Result<Run> run_once(const Options& o) {
  auto setting = set_up(o);
  if (!setting) return tl::unexpected(setting.error());
  const std::uint16_t port = setting->soma->port();
  const std::vector<pid_t> pids{setting->soma->pid()};
  if (auto ready = await(port, "connecting the views",
                         [](const json::object& r) { return r.at("status") == "following"; });
      !ready)
    return tl::unexpected(ready.error());
  Run run;
  auto script = session_script(o, port, setting->tenants);
  script.begin = [&run, begin = std::move(script.begin)](std::size_t client) {
    ++run.sessions;
    return begin(client);
  };
  auto load = run_http(script);
  if (!load) return tl::unexpected(load.error());
  if (load->errors > 0) return fail(Code::kInternal, "a session failed: " + load->first_error);
  auto before = await(port, "catching up", [](const json::object& r) {
    return r.at("lag_frames").to_number<int>() == 0;
  });
  if (!before) return tl::unexpected(before.error());
  const auto done = before->at("rebuild").at("done").to_number<int>();
  const Usage used = usage_of(pids);
  auto profile = o.profile ? std::make_unique<Profile>(pids.front()) : nullptr;
  if (auto began = ask(port, "POST", "/rebuild"); !began) return tl::unexpected(began.error());
  auto after = await(port, "the rebuild", [&](const json::object& r) {
    const auto& rebuild = r.at("rebuild");
    return !rebuild.at("running").as_bool() && (rebuild.at("done").to_number<int>() > done ||
                                                rebuild.at("failed").to_number<int>() > 0);
  });
  profile.reset();
  if (!after) return tl::unexpected(after.error());
  const auto& rebuild = after->at("rebuild").as_object();
  if (rebuild.at("done").to_number<int>() <= done)
    return fail(Code::kInternal, "the rebuild failed: " + json::serialize(rebuild.at("error")));
  const Usage end = usage_of(pids);
  run.rows = rebuild.at("rows").to_number<double>();
  run.seconds = rebuild.at("seconds").to_number<double>();
  auto verified = ask(port, "GET", "/verify");
  if (!verified) return tl::unexpected(verified.error());
  if (!verified->at("ok").as_bool())
    return fail(Code::kInternal, "the rows are not what the journal makes");
  run.verify_s = verified->at("seconds").to_number<double>();
  run.figures.timed = false;
  run.figures.ops = run.rows / std::max(run.seconds, 1e-9);
  run.figures.cpu_s = end.cpu_s - used.cpu_s;
  run.figures.rss_mb = end.rss_mb;
  return run;
}

}  // namespace

Result<Outcome> bench_projection(const Options& o) {
  Outcome out;
  out.bench = "projection";
  out.clients = o.clients;
  out.seconds = o.seconds;
  out.durability_ours =
      "rows and cursor in one transaction, not waited for on disk (synchronous_commit = off): rows "
      "are made again from the journal";
  std::vector<Figures> ours;
  std::vector<Run> runs;
  std::vector<PekkoRun> peer;
  for (int i = 0; i < o.runs; ++i) {
    auto run = run_once(o);
    if (!run) return tl::unexpected(run.error());
    ours.push_back(run->figures);
    runs.push_back(*run);
    if (o.peer.empty()) continue;
    auto its = projection_by_pekko(o);
    if (!its) return tl::unexpected(its.error());
    peer.push_back(*its);
  }
  const auto of = [&](double Run::*member) {
    return middle(runs, [member](const Run& r) { return r.*member; });
  };
  out.ours = median(ours);
  out.seconds = of(&Run::seconds);  // of what ops and CPU are told of: the rebuild
  out.extra = {{"rows", of(&Run::rows)},
               {"sessions", of(&Run::sessions)},
               {"rebuild_s", out.seconds},
               {"verify_s", of(&Run::verify_s)}};
  // Of fewer rows the making of tables and indexes is most of it.
  if (of(&Run::rows) >= kGateRows) out.gates = {{"B7", "rows/s", out.ours.ops, 100'000, true}};
  if (peer.empty()) return out;
  out.peer_name = o.peer;
  out.durability_peer = "rows and offset in one transaction of 5,000, synchronous_commit = off";
  out.peer = middle_of(peer);
  out.gates.push_back({"B7.pekko", "x the peer's rows/s", out.ours.ops / out.peer.ops, 1, true});
  return out;
}

}  // namespace soma::bench
