// Shrinking and the file of kept seeds.
#include "tools/sim/failures.h"

#include <fstream>
#include <sstream>

#include "runtime/sim/shrink.h"
#include "tools/sim/lines.h"

namespace soma::simulate {

namespace json = boost::json;

std::set<std::string> names_to_leave_out() {
  std::set<std::string> out;
  for (const auto& name : sim::workload_names()) out.insert(name);
  for (std::size_t i = 0; i < sim::kFaults; ++i)
    out.emplace(sim::fault_name(static_cast<sim::Fault>(i)));
  return out;
}

std::string command_of(const Batch& batch, const std::string& verb) {
  std::string out = "soma sim " + verb + " --seed " + std::to_string(batch.first) + " --steps " +
                    std::to_string(batch.steps);
  if (batch.clients > 0) out += " --clients " + std::to_string(batch.clients);
  if (!batch.from_folder.empty()) out += " --from " + batch.from_folder;
  for (const auto& name : batch.without) out += " --without " + name;
  return out;
}

Result<json::object> shrink(const Batch& batch, std::uint64_t budget,
                            const std::function<void(const std::string&)>& on_progress) {
  sim::Options options;
  options.seed = batch.first;
  options.steps = batch.steps;
  options.without = batch.without;
  options.clients = batch.clients;
  options.from = batch.from;
  const sim::Report failed = sim::run(options);
  if (!failed.violation)
    return fail(Code::kNotFound,
                "seed " + std::to_string(batch.first) + " violates nothing in " +
                    std::to_string(batch.steps) + " steps",
                "--seed");
  const auto small =
      sim::shrink(options, failed, budget, [&](const sim::Options& o, const sim::Report& r) {
        on_progress(std::to_string(o.steps) + " steps, " + std::to_string(r.commands) +
                    " commands, without " + std::to_string(o.without.size()) + " kinds");
      });
  Batch shown = batch;
  shown.steps = small.options.steps;
  shown.without = small.options.without;
  shown.clients = small.options.clients;
  json::object out{{"command", command_of(shown, "run")}, {"tried", small.tried}};
  for (auto& member : to_json(small.report)) out[member.key()] = member.value();
  return out;
}

Result<std::vector<KeptSeed>> read_corpus(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(Code::kNotFound, "no file of seeds at " + path, "--file");
  std::vector<KeptSeed> out;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    std::istringstream in(line);
    KeptSeed kept;
    if (!(in >> kept.seed >> kept.steps))
      return fail(Code::kInvalidArgument,
                  path + ":" + std::to_string(number) + " is not SEED STEPS WHY", "--file");
    std::getline(in >> std::ws, kept.why);
    out.push_back(std::move(kept));
  }
  return out;
}

}  // namespace soma::simulate
