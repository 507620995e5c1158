// The peer: the server, a service, its registration.
#include <chrono>
#include <filesystem>
#include <thread>

#include "tools/bench/npm.h"
#include "tools/bench/servers.h"

namespace soma::bench {

namespace fs = std::filesystem;

namespace {

constexpr const char* kServerVersion = "1.7.12";
constexpr const char* kSdkVersion = "1.9.1";
constexpr int kStartMs = 30'000;

// Lateness is taken when a firing begins, which is kinder than when it is durable.
constexpr const char* kService = R"js(import * as restate from "@restatedev/restate-sdk";
import {createServer} from "node:http";
const counter = restate.object({name: "counter", handlers: {
  add: async (ctx, amount) => {
    const value = ((await ctx.get("value")) ?? 0) + amount;
    ctx.set("value", value);
    return value;
  },
}});
const fired = new Map();
const told = {fired: 0, twice: 0, early: 0};
const timer = restate.service({name: "timer", handlers: {
  fire: async (ctx, t) => {
    const late = Date.now() - t.due;
    if (fired.has(t.i)) return void ++told.twice;
    fired.set(t.i, {late: Math.max(0, late), at_once: t.at_once});
    ++told.fired;
    if (late < 0) ++told.early;
  },
  arm: async (ctx, all) => {
    for (const t of all)
      ctx.genericSend({service: "timer", method: "fire", parameter: t, inputSerde: restate.serde.json,
                       delay: Math.max(0, t.due - Date.now())});
  },
}});
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
createServer((_, answer) => {
  const late = (wanted) => [...fired.values()].filter(wanted).map((t) => t.late).sort((a, b) => a - b);
  const all = late(() => true), instant = late((t) => t.at_once);
  answer.end(JSON.stringify({...told, p50_ms: at(all, 0.5), p99_ms: at(all, 0.99), p999_ms: at(all, 0.999),
                             instant_p99_ms: at(instant, 0.99)}));
}).listen(Number(process.env.TOLD_PORT), "127.0.0.1");
restate.serve({services: [counter, timer], port: Number(process.env.PORT)});
)js";

std::string address(int port) { return "127.0.0.1:" + std::to_string(port); }

// Until `probe` answers 2xx.
Status wait_for(std::uint16_t port, const std::string& probe, Child& child, const char* what) {
  for (int waited = 0; waited < kStartMs && child.running(); waited += 50) {
    if (auto r = http_once(port, probe); r && r->first / 100 == 2) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return fail(Code::kUnavailable, std::string(what) + " did not start");
}

}  // namespace

Result<std::unique_ptr<RestateServer>> RestateServer::start(const Options& o) {
  auto package =
      installed({std::string("restate-") + kServerVersion + "-" + kSdkVersion,
                 "the Restate server and SDK (about 60 MB)",
                 std::string("\"@restatedev/restate-server-linux-x64\":\"") + kServerVersion +
                     "\",\"@restatedev/restate-sdk\":\"" + kSdkVersion + "\"",
                 "counter.mjs", kService});
  if (!package) return tl::unexpected(package.error());
  auto folder = make_data_folder(o.folder);
  if (!folder) return tl::unexpected(folder.error());
  auto out = std::make_unique<RestateServer>();
  out->folder_ = *folder;
  const int service = free_port(), ingress = free_port(), admin = free_port(), node = free_port(),
            told = free_port();
  auto made = Child::start({{"node", "counter.mjs"},
                            {{"PORT", std::to_string(service)},
                             {"TOLD_PORT", std::to_string(told)},
                             {"NODE_ENV", "production"}},
                            package->string(),
                            *folder + "/service.log",
                            false});
  if (!made) return tl::unexpected(made.error());
  out->service_ = std::move(*made);
  const fs::path binary =
      *package / "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server";
  out->how_ = {
      {binary.string(), "--no-logo", "--listen-mode", "tcp", "--base-dir", *folder + "/data"},
      {{"RESTATE_INGRESS__BIND_ADDRESS", address(ingress)},
       {"RESTATE_ADMIN__BIND_ADDRESS", address(admin)},
       {"RESTATE_BIND_ADDRESS", address(node)},
       {"RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC", "false"},
       {"RESTATE_DISABLE_TELEMETRY", "true"}},
      *folder,
      *folder + "/server.log",
      false};
  if (auto ok = out->restart(); !ok) return tl::unexpected(ok.error());
  out->port_ = static_cast<std::uint16_t>(ingress);
  out->told_port_ = static_cast<std::uint16_t>(told);
  const auto admin_port = static_cast<std::uint16_t>(admin);
  if (auto ok = wait_for(admin_port, http_request("GET", "/health"), *out->server_, "Restate"); !ok)
    return tl::unexpected(ok.error());
  const std::string body = "{\"uri\":\"http://" + address(service) + "\"}";
  if (auto ok = wait_for(admin_port, http_request("POST", "/deployments", body), *out->server_,
                         "the peer's service");
      !ok)
    return tl::unexpected(ok.error());
  if (auto ok = wait_for(out->port_, http_request("POST", "/counter/warm/add", "1"), *out->server_,
                         "the peer's counter");
      !ok)
    return tl::unexpected(ok.error());
  return out;
}

Status RestateServer::restart() {
  stop();
  auto made = Child::start(how_);
  if (!made) return tl::unexpected(made.error());
  server_ = std::move(*made);
  return {};
}

RestateServer::~RestateServer() {
  stop();
  service_.reset();
  remove_data_folder(folder_);
}

}  // namespace soma::bench
