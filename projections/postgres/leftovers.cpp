// A postmaster's pid file may name a zombie, or somebody else by now: only /proc/PID/cwd tells.
#include "projections/postgres/leftovers.h"

#include <signal.h>
#include <sys/shm.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

namespace soma::projections {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// Backends outlive a killed postmaster and hold its shared memory; all have the cluster as their
// working folder. A zombie has none, so it is not counted. A shell that looks around there is no
// postgres.
std::vector<pid_t> postgres_in(const std::string& cluster) {
  std::vector<pid_t> out;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code gone;
    if (fs::read_symlink(it->path() / "cwd", gone) != fs::path(cluster)) continue;
    std::string program;
    std::getline(std::ifstream(it->path() / "comm"), program);
    if (program == "postgres") out.push_back(std::stoi(name));
  }
  return out;
}

// Line 7 of postmaster.pid is "KEY ID" of the segment. PostgreSQL would free it itself, had it the
// file; without, one segment a crash would stay until reboot.
void free_shared_memory(const std::string& pid_file) {
  std::ifstream in(pid_file);
  std::string line;
  for (int i = 0; i < 6; ++i) std::getline(in, line);
  unsigned long key = 0;
  int id = -1;
  if (!(in >> key >> id) || id < 0) return;
  struct shmid_ds s {};
  if (::shmctl(id, IPC_STAT, &s) == 0 && s.shm_nattch == 0 &&
      static_cast<unsigned long>(s.shm_perm.__key) == key)
    ::shmctl(id, IPC_RMID, nullptr);
}

}  // namespace

bool clear_leftovers(const std::string& cluster, const std::string& socket_folder,
                     const std::function<bool()>& stopping) {
  for (const int signal : {SIGINT, SIGQUIT, SIGKILL}) {
    auto left = postgres_in(cluster);
    if (left.empty()) break;
    for (const pid_t pid : left) ::kill(pid, signal);
    for (int i = 0; i < 100 && !left.empty(); ++i) {
      if (stopping()) return false;
      std::this_thread::sleep_for(20ms);
      left = postgres_in(cluster);
    }
  }
  const std::string pid_file = cluster + "/postmaster.pid";
  free_shared_memory(pid_file);
  std::error_code ignored;
  fs::remove(pid_file, ignored);
  for (const char* name : {"/.s.PGSQL.5432", "/.s.PGSQL.5432.lock"})
    fs::remove(socket_folder + name, ignored);
  return true;
}

}  // namespace soma::projections
