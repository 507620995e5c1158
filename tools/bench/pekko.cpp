// One Java program, a mode each; it measures itself and says one line.
#include "tools/bench/pekko.h"

#include <boost/json.hpp>

#include "projections/postgres/private_cluster.h"
#include "tools/bench/child.h"
#include "tools/bench/maven.h"
#include "tools/bench/pekko_program.h"
#include "tools/bench/stack.h"

namespace soma::bench {

namespace json = boost::json;

namespace {

constexpr int kPatienceMs = 30 * 60 * 1000;
constexpr std::size_t kRows = 300'000;

MavenPeer pekko() {
  const std::string core = ":1.1.3", here = "org.apache.pekko:pekko-";
  return {
      "pekko-1.1.3-1.0.0",
      "Apache Pekko (about 25 MB)",
      {here + "actor-typed_2.13" + core, here + "persistence_2.13" + core,
       here + "persistence-query_2.13" + core, here + "projection-jdbc_2.13:1.0.0",
       "org.fusesource.leveldbjni:leveldbjni-all:1.8", "org.postgresql:postgresql:42.7.4",
       "com.kohlschutter.junixsocket:junixsocket-core:2.10.1:pom", "org.slf4j:slf4j-simple:2.0.16"},
      "PekkoPeer",
      kPekkoProgram};
}

// What it says of itself. The heap is bounded, so that memory is told and not chosen by the
// machine.
Result<json::object> run(const std::vector<std::string>& arguments) {
  const auto program = installed(pekko());
  if (!program) return tl::unexpected(program.error());
  const std::string log = (program->folder / "pekko.log").string();  // kept: why it did not run
  std::vector<std::string> command{"java",
                                   "-Xmx2g",
                                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                                   "-cp",
                                   program->class_path,
                                   "PekkoPeer"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  auto child = Child::start({command, {}, program->folder.string(), log, true});
  if (!child) return tl::unexpected(child.error());
  const auto line = (*child)->line(kPatienceMs);
  if (!line) return fail(Code::kUnavailable, "Pekko did not run; see " + log);
  boost::system::error_code bad;
  json::value said = json::parse(*line, bad);
  if (bad || !said.is_object()) return fail(Code::kUnavailable, "Pekko said: " + *line);
  return said.get_object();
}

double number(const json::object& o, const char* name) { return o.at(name).to_number<double>(); }

// Its socket, as the URL that PostgreSQL's JDBC driver takes.
std::string jdbc_url(const std::string& libpq) {
  const std::string folder = libpq.substr(5, libpq.find(' ') - 5);
  return "jdbc:postgresql://localhost/postgres?user=soma&reWriteBatchedInserts=true"
         "&options=-c%20synchronous_commit=off&sslmode=disable"
         "&socketFactory=org.newsclub.net.unix.AFUNIXSocketFactory$FactoryArg&socketFactoryArg=" +
         folder + "/.s.PGSQL.5432";
}

}  // namespace

Figures middle_of(const std::vector<PekkoRun>& runs) {
  return {.ops = middle(runs, [](const PekkoRun& r) { return r.amount / r.seconds; }),
          .timed = false,
          .cpu_s = middle(runs, [](const PekkoRun& r) { return r.cpu_s; })};
}

Result<PekkoRun> replay_by_pekko(const Options& o) {
  DataFolder folder(o.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  const auto said = run({"replay", std::to_string(o.amount), folder.path() + "/journal"});
  if (!said) return tl::unexpected(said.error());
  return PekkoRun{number(*said, "events"), number(*said, "seconds"), number(*said, "cpu_s")};
}

Result<double> bytes_of_a_pekko_actor(const Options& o) {
  const auto said = run({"actors", std::to_string(o.amount)});
  if (!said) return tl::unexpected(said.error());
  return number(*said, "bytes_each");
}

Result<PekkoRun> projection_by_pekko(const Options& o) {
  DataFolder folder(o.folder);
  if (!folder.ok()) return tl::unexpected(folder.error());
  auto postgres = projections::PrivateCluster::at(folder.path() + "/data");
  if (auto ok = postgres->ensure(); !ok) return tl::unexpected(ok.error());
  const auto said = run({"projection", std::to_string(kRows), jdbc_url(postgres->url())});
  if (!said) return tl::unexpected(said.error());
  return PekkoRun{number(*said, "rows"), number(*said, "seconds"), number(*said, "cpu_s")};
}

}  // namespace soma::bench
