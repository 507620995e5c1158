// Starting ours and the scripted model; measuring and profiling them.
#include "tools/bench/servers.h"

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace soma::bench {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr int kStartMs = 60'000;

// The port of a URL like http://127.0.0.1:8080.
std::uint16_t port_of(const std::string& url) {
  return static_cast<std::uint16_t>(std::atoi(url.c_str() + url.rfind(':') + 1));
}

Result<json::object> ready_line(Child& child) {
  auto line = child.line(kStartMs);
  if (!line) return tl::unexpected(line.error());
  boost::system::error_code bad;
  json::value v = json::parse(*line, bad);
  if (bad || !v.is_object()) return fail(Code::kUnavailable, "a program under test said: " + *line);
  return v.get_object();
}

}  // namespace

Result<std::unique_ptr<SomaServer>> SomaServer::start(const Options& o,
                                                      const std::string& upstream_url) {
  auto folder = make_data_folder(o.folder);
  if (!folder) return tl::unexpected(folder.error());
  auto out = std::make_unique<SomaServer>();
  out->folder_ = *folder;
  out->soma_ = o.soma;
  ChildOptions c;
  c.command = {o.soma,        "dev",         "--data-dir",      *folder + "/data",
               "--listen",    "127.0.0.1:0", "--memory-listen", "off",
               "--slm-local", "off",         "--slm-embedding", "off"};
  if (!o.kafka.empty())
    c.command.insert(c.command.end(), {"--kafka", o.kafka, "--kafka-topic-prefix",
                                       fs::path(*folder).filename().string() + "."});
  if (!upstream_url.empty()) {
    c.command.push_back("--slm-openai-base-url");
    c.command.push_back(upstream_url);
  }
  c.read_stdout = true;
  c.log_file = *folder + "/soma.log";
  const auto began = std::chrono::steady_clock::now();
  auto child = Child::start(c);
  if (!child) return tl::unexpected(child.error());
  out->child_ = std::move(*child);
  auto ready = ready_line(*out->child_);
  if (!ready) return tl::unexpected(ready.error());
  out->boot_ms_ =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
  out->port_ = port_of(std::string(ready->at("http").get_string()));
  return out;
}

SomaServer::~SomaServer() {
  child_.reset();
  remove_data_folder(folder_);
}

Result<std::string> SomaServer::add_tenant(const std::string& tenant) {
  auto issuer = Child::start({{soma_, "auth", "token", "--data-dir", folder_ + "/data", "--tenant",
                               tenant, "--sub", "bench", "--cap", "*", "--ttl", "24h"},
                              {},
                              {},
                              folder_ + "/token.log",
                              true});
  if (!issuer) return tl::unexpected(issuer.error());
  auto token = (*issuer)->line(kStartMs);
  if (!token) return tl::unexpected(token.error());
  const std::string headers = "Authorization: Bearer " + *token + "\r\n";
  auto r = http_once(
      port_,
      http_request("PUT", "/v1/tenants/" + tenant,
                   "{\"tenant_id\":\"" + tenant + "\",\"budgets_tokens\":1000000000000}", headers));
  if (!r) return tl::unexpected(r.error());
  if (r->first >= 300)
    return fail(Code::kUnavailable, "the tenant's budget could not be set: " + r->second);
  return headers;
}

Result<std::unique_ptr<UpstreamServer>> UpstreamServer::start(const Options& o) {
  if (!fs::exists(o.upstream))
    return fail(Code::kNotFound,
                "no scripted model server at " + o.upstream +
                    "; build the target scripted_upstream, or give --upstream FILE",
                "upstream");
  ChildOptions c;
  c.command = {o.upstream, "--port", "0"};
  c.read_stdout = true;
  auto child = Child::start(c);
  if (!child) return tl::unexpected(child.error());
  auto out = std::make_unique<UpstreamServer>();
  out->child_ = std::move(*child);
  auto ready = ready_line(*out->child_);
  if (!ready) return tl::unexpected(ready.error());
  out->port_ = static_cast<std::uint16_t>(ready->at("port").to_number<int>());
  return out;
}

std::string UpstreamServer::base_url() const {
  return "http://127.0.0.1:" + std::to_string(port_) + "/v1";
}

Profile::Profile(pid_t pid) : file_("/tmp/soma-bench-" + std::to_string(pid) + ".perf") {
  ChildOptions c;
  c.command = {"perf", "record", "-q", "-F", "499", "-g", "-o", file_, "-p", std::to_string(pid)};
  if (auto child = Child::start(c)) perf_ = std::move(*child);
}

Profile::~Profile() {
  perf_.reset();
  const std::string command = "perf report --stdio --no-children -g none --percent-limit 0.4 -i " +
                              file_ + " 2>/dev/null | grep -v '^#' | grep -v '^$' 1>&2";
  if (std::system(command.c_str()) != 0)
    std::cerr << "no profile: is perf (linux-perf) installed?" << std::endl;
  std::error_code ignored;
  fs::remove(file_, ignored);
}

Result<Figures> measure(const Options& o, const HttpScript& script,
                        const std::vector<pid_t>& pids) {
  Usage before;
  std::unique_ptr<Profile> profile;
  auto load = run_http(script, [&] {
    before = usage_of(pids);
    if (o.profile) profile = std::make_unique<Profile>(pids.front());
  });
  const Usage after = usage_of(pids);
  profile.reset();
  if (!load) return tl::unexpected(load.error());
  Figures f = figures_of(load->latencies, load->seconds);
  f.cpu_s = after.cpu_s - before.cpu_s;
  f.rss_mb = after.rss_mb;
  f.errors = load->errors;
  if (load->errors > 0)
    std::cerr << "bench: " << load->errors << " of " << load->errors + load->latencies.count()
              << " operations failed; the first with: " << load->first_error << std::endl;
  return f;
}

}  // namespace soma::bench
