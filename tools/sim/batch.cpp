// Workers write lines into pipes; one place adds them up.
#include "tools/sim/batch.h"

#include <google/protobuf/stubs/common.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "tools/sim/lines.h"

namespace soma::simulate {

namespace json = boost::json;

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

sim::Report world(const Batch& batch, std::uint64_t seed) {
  sim::Options options;
  options.seed = seed;
  options.steps = batch.steps;
  options.without = batch.without;
  options.clients = batch.clients;
  options.from = batch.from;
  if (batch.trace) options.print = [](const std::string& line) { std::cerr << line << "\n"; };
  return sim::run(options);
}

void add(Totals& totals, const json::object& line) {
  ++totals.seeds;
  if (!line.at("ok").as_bool()) ++totals.failed;
  if (!line.contains("faults")) return;
  totals.cluster_hours += line.at("cluster_hours").to_number<double>();
  totals.simulated_hours += line.at("simulated_hours").to_number<double>();
  const auto sum = [](json::object& into, std::string_view name, const json::value& more) {
    const auto it = into.find(name);
    const std::uint64_t had = it == into.end() ? 0 : it->value().to_number<std::uint64_t>();
    into[name] = had + more.to_number<std::uint64_t>();
  };
  for (const char* name :
       {"steps", "lives", "commands", "acknowledged", "decided", "events", "frames", "voided"})
    sum(totals.sums, name, line.at(name));
  for (const auto& fault : line.at("faults").as_object())
    sum(totals.faults, fault.key(), fault.value());
}

bool enough(const Batch& batch, const Totals& totals, Clock::time_point began) {
  return (batch.budget_s > 0 && since(began) >= batch.budget_s) ||
         (batch.hours > 0 && totals.cluster_hours >= batch.hours);
}

void say(int out, const json::object& line) {
  const std::string text = json::serialize(line) + "\n";
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(out, text.data() + done, text.size() - done);
    if (n <= 0) ::_exit(1);  // nobody listens any more
    done += static_cast<std::size_t>(n);
  }
}

struct Worker {
  pid_t pid = -1;
  int in = -1;
  std::uint64_t seed = 0;  // that it runs now
  std::string text;
};

Result<Worker> start(const Batch& batch, unsigned job) {
  int ends[2];
  if (::pipe(ends) != 0) return fail(Code::kInternal, "no pipe for a worker");
  Worker w;
  w.pid = ::fork();
  if (w.pid < 0) return fail(Code::kInternal, "no process for a worker");
  if (w.pid == 0) {
    ::close(ends[0]);
    for (std::uint64_t seed = batch.first + job; seed <= batch.last; seed += batch.jobs) {
      say(ends[1], {{"begins", seed}});
      say(ends[1], to_json(world(batch, seed)));
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  w.in = ends[0];
  return w;
}

// What came from a worker; false when it has ended.
bool hear(Worker& w, const std::function<void(const json::object&)>& take) {
  char bytes[65536];
  const ssize_t n = ::read(w.in, bytes, sizeof bytes);
  if (n <= 0) return false;
  w.text.append(bytes, static_cast<std::size_t>(n));
  for (std::size_t end; (end = w.text.find('\n')) != std::string::npos;) {
    const json::object line = json::parse(w.text.substr(0, end)).as_object();
    w.text.erase(0, end + 1);
    if (line.contains("begins")) {
      w.seed = line.at("begins").to_number<std::uint64_t>();
      continue;
    }
    w.seed = 0;
    take(line);
  }
  return true;
}

void ended(Worker& w, bool stopped, const std::function<void(const json::object&)>& take) {
  ::close(w.in);
  int status = 0;
  ::waitpid(w.pid, &status, 0);
  w.pid = -1;
  if (stopped || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return;
  const std::string how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                              : "exit " + std::to_string(WEXITSTATUS(status));
  take({{"seed", w.seed},
        {"ok", false},
        {"violation",
         {{"invariant", "abort"}, {"step", 0}, {"position", ""}, {"what", "died: " + how}}}});
}

}  // namespace

Result<Totals> run_batch(const Batch& batch,
                         const std::function<void(const json::object&)>& on_line) {
  google::protobuf::SetLogHandler(nullptr);  // flipped bytes are meant to be there
  Totals totals;
  const auto began = Clock::now();
  const auto take = [&](const json::object& line) {
    add(totals, line);
    on_line(line);
  };
  if (batch.jobs <= 1) {
    for (std::uint64_t seed = batch.first; seed <= batch.last; ++seed) {
      take(to_json(world(batch, seed)));
      if (enough(batch, totals, began)) break;
    }
    totals.wall_s = since(began);
    return totals;
  }
  std::vector<Worker> workers;
  for (unsigned job = 0; job < batch.jobs; ++job) {
    auto w = start(batch, job);
    if (!w) return tl::unexpected(w.error());
    workers.push_back(std::move(*w));
  }
  while (!workers.empty()) {
    std::vector<pollfd> waits;
    for (const Worker& w : workers) waits.push_back({w.in, POLLIN, 0});
    ::poll(waits.data(), waits.size(), 200);
    const bool stop = enough(batch, totals, began);
    for (std::size_t i = workers.size(); i-- > 0;) {
      if (stop) ::kill(workers[i].pid, SIGKILL);
      if (!stop && !(waits[i].revents & (POLLIN | POLLHUP))) continue;
      if (!stop && hear(workers[i], take)) continue;
      ended(workers[i], stop, take);
      workers.erase(workers.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  totals.wall_s = since(began);
  return totals;
}

json::object to_json(const Totals& t) {
  std::uint64_t often = 0;
  for (const auto& fault : t.faults) often += fault.value().to_number<std::uint64_t>() >= 50;
  std::uint64_t catalogued = 0;
  for (const auto& [number, names] : sim::fault_catalogue()) {
    std::uint64_t times = 0;
    for (const auto& name : names)
      if (const auto* n = t.faults.if_contains(name)) times += n->to_number<std::uint64_t>();
    catalogued += times >= 50;
  }
  return {{"seeds", t.seeds},
          {"failed", t.failed},
          {"totals", t.sums},
          {"faults", t.faults},
          {"kinds", t.faults.size()},
          {"kinds_50", often},
          {"catalogue", sim::fault_catalogue().size()},
          {"catalogue_50", catalogued},
          {"simulated_hours", t.simulated_hours},
          {"cluster_hours", t.cluster_hours},
          {"wall_s", t.wall_s},
          {"cluster_hours_per_wall_hour", t.wall_s > 0 ? t.cluster_hours / (t.wall_s / 3600) : 0}};
}

}  // namespace soma::simulate
