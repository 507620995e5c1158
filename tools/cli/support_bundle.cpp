// Routes that tell numbers and states, gathered.
#include "tools/cli/support_bundle.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

namespace soma::cli {

namespace json = boost::json;

namespace {

json::object machine() {
  utsname name{};
  struct sysinfo memory {};
  ::uname(&name);
  ::sysinfo(&memory);
  return {{"system", name.sysname},
          {"release", name.release},
          {"machine", name.machine},
          {"cores", std::thread::hardware_concurrency()},
          {"memory_bytes", std::uint64_t{memory.totalram} * memory.mem_unit},
          {"load", static_cast<double>(memory.loads[0]) / (1 << SI_LOAD_SHIFT)}};
}

// Names and sizes only.
json::object folder(const std::string& path) {
  std::uint64_t segments = 0, bytes = 0;
  std::error_code error;
  for (const auto& e : std::filesystem::directory_iterator(path + "/log", error))
    if (e.path().extension() == ".seg") {
      ++segments;
      bytes += e.file_size(error);
    }
  const auto space = std::filesystem::space(path, error);
  json::object out{{"segments", segments}, {"log_bytes", bytes}};
  if (!error) out["free_bytes"] = space.available;
  return out;
}

json::value or_why(const Result<json::value>& r) {
  return r ? *r : json::value(json::object{{"unavailable", r.error().message}});
}

}  // namespace

int write_support_bundle(const Context& c, const std::string& path) {
  const auto named = c.named_node();
  if (!named) return c.fail(named.error());
  // A node that is named may run anywhere: this machine and the folder here are not its own.
  const json::object not_here{
      {"unavailable",
       "the node was named by --server, SOMA_SERVER or a context: what it runs on "
       "is told by `soma bundle` on its own machine"}};
  const bool here = named->empty();
  json::object all{{"soma_support_bundle", 1},
                   {"version", kVersion},
                   {"machine", here ? machine() : not_here},
                   {"folder", here ? folder(c.folder()) : not_here}};
  for (const auto& [name, route] : {std::pair{"ready", "/health/ready"},
                                    {"status", "/v1/admin/status"},
                                    {"projections", "/v1/admin/projections"},
                                    {"effects", "/v1/admin/effects?limit=200"},
                                    {"parked", "/v1/admin/parked?limit=200"}})
    all[name] = or_why(c.call("GET", route));
  all["partitions"] = or_why(c.read("/v1/log/partitions?limit=200"));
  all["actor_types"] = or_why(c.read("/v1/actor-types?limit=200"));
  auto metrics = c.fetch("GET", "/metrics");
  all["metrics"] = metrics ? json::value(*metrics)
                           : json::value(json::object{{"unavailable", metrics.error().message}});
  const std::string text = json::serialize(all);
  if (path.empty()) {
    std::cout << text << std::endl;
    return 0;
  }
  std::ofstream file(path, std::ios::trunc);
  file << text << "\n";
  file.close();
  if (!file) return c.fail({Code::kIo, "cannot write " + path, {}}, "name another --out");
  c.note("read it before you send it: " + path);
  return 0;
}

}  // namespace soma::cli
