// The private cluster, and what a kill -9 leaves of it.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <fstream>
#include <thread>

#include "projections/postgres/reader_pool.h"
#include "tests/unit/projections/pg_fixture.h"

namespace soma::projections::test {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class ClusterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("PATH", "/usr/bin:/bin", 1);  // as on Debian: PostgreSQL's programs are not in it
    open();
  }
  void open() {
    cluster_ = PrivateCluster::at(cluster_folder());
    const auto up = cluster_->ensure();
    ASSERT_TRUE(up) << up.error().message;
  }
  std::unique_ptr<Db> db() {
    auto d = Db::open(cluster_->url());
    EXPECT_TRUE(d) << (d ? "" : d.error().message);
    return std::move(*d);
  }
  std::string files() { return cluster_folder() + "/postgres/cluster"; }
  static bool gone(int pid) {
    return eventually([pid] { return !fs::exists("/proc/" + std::to_string(pid) + "/stat"); });
  }
  static int working_in(const std::string& folder) {
    int found = 0;
    std::error_code error;
    for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
      std::error_code gone;
      found += fs::read_symlink(it->path() / "cwd", gone).string().starts_with(folder);
    }
    return found;
  }
  void write_rows() {
    ASSERT_TRUE(
        db()->run("DROP TABLE IF EXISTS t; CREATE TABLE t (n int); INSERT INTO t SELECT "
                  "generate_series(1,1000)"));
  }
  void expect_rows() {
    auto rows = db()->query("SELECT count(*) FROM t", {});
    ASSERT_TRUE(rows) << rows.error().message;
    EXPECT_EQ((*rows)[0][0], "1000");
  }

  std::unique_ptr<PrivateCluster> cluster_;
};

TEST_F(ClusterTest, IsSafeAndPrivate) {
  const auto setting = [&](const char* name) {
    auto r = db()->query(std::string("SHOW ") + name, {});
    return r ? (*r)[0][0].value_or("") : r.error().message;
  };
  EXPECT_EQ(setting("fsync"), "on");
  EXPECT_EQ(setting("synchronous_commit"), "on");
  EXPECT_EQ(setting("full_page_writes"), "on");
  EXPECT_EQ(setting("data_checksums"), "on");
  EXPECT_EQ(setting("listen_addresses"), "");
  EXPECT_EQ(setting("jit"), "off");
  EXPECT_EQ(fs::status(cluster_->home()).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(cluster_->home() + "/socket").permissions(), fs::perms::owner_all);
  if (::getuid() == 0) {
    struct stat s {};
    ASSERT_EQ(::stat(("/proc/" + std::to_string(cluster_->pid())).c_str(), &s), 0);
    EXPECT_NE(s.st_uid, 0U);
  }
}

TEST_F(ClusterTest, ASecondStartIsRefusedWhileTheFirstLives) {
  auto second = PrivateCluster::at(cluster_folder());
  EXPECT_EQ(second->ensure().error().code, Code::kLocked);
  cluster_.reset();
  EXPECT_TRUE(second->ensure());
}

TEST_F(ClusterTest, RowsOutliveAStopAndAKilledServer) {
  write_rows();
  cluster_.reset();
  open();
  expect_rows();
  for (int signal : {SIGKILL, SIGQUIT}) {
    const int pid = cluster_->pid();
    ::kill(pid, signal);
    ASSERT_TRUE(gone(pid));
    ASSERT_TRUE(eventually([&] { return !cluster_->running(); }));
    ASSERT_TRUE(cluster_->ensure());
    expect_rows();
  }
}

// A backend that is busy outlives its postmaster, and holds the shared memory.
TEST_F(ClusterTest, EndsABackendThatOutlivesItsPostmaster) {
  write_rows();
  auto busy = db();
  std::thread work([&] { busy->run("SELECT count(*) FROM generate_series(1,4000000000)"); });
  std::string backend;
  for (int i = 0; i < 200 && backend.empty(); ++i) {
    auto r = db()->query(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%4000000000)' AND pid "
        "<> pg_backend_pid() AND state='active'",
        {});
    if (r && !r->empty()) backend = *(*r)[0][0];
  }
  ASSERT_FALSE(backend.empty());
  ::kill(cluster_->pid(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return !cluster_->running(); }));
  ASSERT_TRUE(cluster_->ensure());
  EXPECT_TRUE(gone(std::stoi(backend)));
  work.join();
  expect_rows();
}

TEST_F(ClusterTest, PidFilesThatNameOthersAreNoObstacle) {
  write_rows();
  cluster_.reset();
  // Somebody else's process, and a zombie, have the pid by now.
  const pid_t zombie = ::fork();
  if (zombie == 0) ::_exit(0);
  for (const int pid : {static_cast<int>(::getpid()), static_cast<int>(zombie)}) {
    std::ofstream(files() + "/postmaster.pid")
        << pid << "\n"
        << files() << "\n1700000000\n5432\n"
        << cluster_folder() << "\n\n  1234567  99999999\nready\n";
    std::ofstream(files() + "/../socket/.s.PGSQL.5432.lock") << pid << "\n" << files() << "\n";
    open();
    expect_rows();
    cluster_.reset();
  }
  ::waitpid(zombie, nullptr, 0);
}

TEST_F(ClusterTest, AHalfMadeClusterIsNotUsed) {
  cluster_.reset();
  const std::string home = cluster_folder() + "/postgres";
  fs::remove_all(home + "/cluster");
  fs::create_directories(home + "/new-1/base");
  std::ofstream(home + "/new-1/PG_VERSION") << "15\n";
  open();
  write_rows();
  EXPECT_FALSE(fs::exists(home + "/new-1"));
}

// A stop in the middle of initdb, which has started a postgres of its own.
TEST_F(ClusterTest, AStopWhileItIsMadeLeavesNothing) {
  cluster_.reset();
  const std::string home = cluster_folder() + "/postgres";
  fs::remove_all(home + "/cluster");
  const std::string made = home + "/new-" + std::to_string(::getpid());
  bool stop = false;
  const auto stopped = PrivateCluster::at(
      cluster_folder(), [&] { return stop = stop || fs::exists(made + "/PG_VERSION"); });
  EXPECT_EQ(stopped->ensure().error().code, Code::kCancelled);
  EXPECT_FALSE(fs::exists(home + "/cluster"));
  EXPECT_TRUE(eventually([&] { return working_in(home) == 0; }));
  EXPECT_EQ(stopped->pid(), 0);
  fs::remove_all(made);  // what its last process wrote while it was ended
  EXPECT_EQ(PrivateCluster::at(cluster_folder())->ensure().error().code, Code::kLocked);
}

TEST_F(ClusterTest, AStopWhilePredecessorsEndTouchesNoFile) {
  cluster_.reset();
  const std::string pid_file = files() + "/postmaster.pid";
  std::ofstream(pid_file) << "1\n";
  const pid_t left = ::fork();  // named as PostgreSQL is, deaf to what it is asked
  if (left == 0) {
    ::signal(SIGINT, SIG_IGN);
    ::prctl(PR_SET_NAME, "postgres");
    if (::chdir(files().c_str()) != 0) ::_exit(1);
    for (;;) ::pause();
  }
  ASSERT_TRUE(eventually([&] { return working_in(files()) == 1; }));
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(PrivateCluster::at(cluster_folder(), [] { return true; })->ensure().error().code,
            Code::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 1500ms);
  EXPECT_TRUE(fs::exists(pid_file));
  ::kill(left, SIGKILL);
  ::waitpid(left, nullptr, 0);
  open();
}

TEST_F(ClusterTest, ADamagedClusterIsMadeAnewAfterAFewTries) {
  cluster_.reset();
  std::ofstream(cluster_folder() + "/postgres/cluster/global/pg_control") << "rubbish";
  cluster_ = PrivateCluster::at(cluster_folder());
  int tries = 0;
  while (!cluster_->ensure() && tries < 6) ++tries;
  EXPECT_EQ(tries, 3);
  EXPECT_TRUE(cluster_->running());
  write_rows();
}

TEST_F(ClusterTest, DiesWithTheProcess) {
  cluster_.reset();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto c = PrivateCluster::at(cluster_folder());
    int pid = c->ensure() ? c->pid() : -1;
    if (::write(ends[1], &pid, sizeof pid) != sizeof pid) ::_exit(1);
    for (;;) ::pause();
  }
  int pid = 0;
  ASSERT_EQ(::read(ends[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ASSERT_GT(pid, 0);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(gone(pid));
  open();
}

// One that is there and says nothing: a reader must not wait for ever, nor the projector at a stop.
TEST_F(ClusterTest, AServerThatSaysNothingIsGivenUp) {
  auto silent = db();
  silent->set_patience(100ms);
  const auto began = std::chrono::steady_clock::now();
  const auto late = silent->run("SELECT pg_sleep(60)");
  EXPECT_LT(std::chrono::steady_clock::now() - began, 30s);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kDeadlineExceeded);
  EXPECT_EQ(late.error().message, "PostgreSQL: no answer in time");
  EXPECT_FALSE(silent->usable());
  EXPECT_FALSE(silent->query("SELECT 1", {}));

  auto slow = db();  // each of its answers in time, all of them not
  slow->set_deadline(std::chrono::steady_clock::now() + 150ms);
  Status all;
  for (int i = 0; i < 1000 && all; ++i) all = slow->run("SELECT pg_sleep(0.01)");
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().code, Code::kDeadlineExceeded);

  auto interrupted = db();
  std::thread other([&] { interrupted->interrupt(); });
  const auto ended = interrupted->run("SELECT pg_sleep(60)");
  other.join();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, Code::kUnavailable);
}

// One slow list must not refuse those of others; a server that says nothing may.
TEST_F(ClusterTest, ReadersRestOnlyAfterAServerThatSaidNothing) {
  ReaderPool readers;
  readers.set_url(cluster_->url());
  const std::function<Result<int>(Db&)> quick = [](Db& d) -> Result<int> {
    if (auto ok = d.run("SELECT 1"); !ok) return tl::unexpected(ok.error());
    return 1;
  };
  const auto slow = [](std::chrono::milliseconds patience) -> std::function<Result<int>(Db&)> {
    return [patience](Db& d) -> Result<int> {
      if (patience.count() > 0) d.set_deadline(std::chrono::steady_clock::now() + patience);
      return tl::unexpected(d.run("SELECT pg_sleep(60)").error());
    };
  };
  // The server itself ends it, and a second try would not end within the grace.
  const auto late = readers.with<int>(800, slow(0ms));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kUnavailable);
  EXPECT_TRUE(readers.with<int>(5000, quick));
  const auto silent = readers.with<int>(5000, slow(100ms));
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, Code::kDeadlineExceeded);
  EXPECT_FALSE(readers.with<int>(5000, quick));
}

// Pieces larger than any buffer between the two, in both directions.
TEST_F(ClusterTest, LargeCopiesPassWithoutBlocking) {
  auto d = db();
  ASSERT_TRUE(d->run("CREATE TABLE big (n int, t text)"));
  std::string text;
  const std::string filler(2000, 'x');
  for (int n = 0; n < 20'000; ++n) text += std::to_string(n) + '\t' + filler + '\n';
  const auto in = d->copy_in("COPY big FROM STDIN", text);
  ASSERT_TRUE(in) << in.error().message;
  std::size_t rows = 0, bytes = 0;
  const auto out = d->copy_out("COPY big TO STDOUT", [&](const Record& row) {
    ++rows;
    bytes += row[1]->size();
  });
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(rows, 20'000u);
  EXPECT_EQ(bytes, 40'000'000u);
  const auto wrong = d->copy_in("COPY big FROM STDIN", "not a number\tx\n");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::kInvalidArgument);
  EXPECT_TRUE(d->usable());
  EXPECT_TRUE(d->run("SELECT 1; SELECT 2"));
  const auto second = d->run("SELECT 1; SELECT 1/0; SELECT 2");
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("division by zero"), std::string::npos);
}

TEST(ClusterPaths, ALongPathStillHasASocket) {
  TempFolder folder;
  fs::permissions(folder.path(), fs::perms(0711));
  const fs::path deep = folder.path() / std::string(60, 'd') / std::string(60, 'e');
  fs::create_directories(deep);
  auto cluster = PrivateCluster::at(deep.string());
  const auto up = cluster->ensure();
  ASSERT_TRUE(up) << up.error().message;
  EXPECT_TRUE(Db::open(cluster->url()));
}

}  // namespace soma::projections::test
