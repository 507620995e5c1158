// A half-made folder is never used.
#include "tools/bench/npm.h"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <thread>

#include "tools/bench/child.h"

namespace soma::bench {

namespace fs = std::filesystem;

namespace {

fs::path cache_folder() {
  const auto get = [](const char* name) {
    const char* v = std::getenv(name);
    return std::string(v ? v : "");
  };
  if (const auto c = get("SOMA_CACHE_DIR"); !c.empty()) return c;
  if (const auto c = get("XDG_CACHE_HOME"); !c.empty()) return fs::path(c) / "somastack";
  return fs::path(get("HOME")) / ".cache" / "somastack";
}

int run(const std::vector<std::string>& command, const std::string& folder,
        const std::string& log) {
  auto child = Child::start({command, {}, folder, log, false});
  if (!child) return 127;
  while ((*child)->running()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return (*child)->stop();
}

// Another text than that of the version installed before is another program.
Status write_program(const fs::path& folder, const NpmPeer& peer) {
  std::ofstream out(folder / peer.file, std::ios::trunc);
  out << peer.program;
  if (!out.flush()) return fail(Code::kIo, "cannot write " + (folder / peer.file).string());
  return {};
}

}  // namespace

Result<fs::path> installed(const NpmPeer& peer) {
  const fs::path folder = cache_folder() / "peers" / peer.folder;
  if (!fs::exists(folder)) {
    const fs::path work = folder.string() + ".new";
    std::error_code ignored;
    fs::remove_all(work, ignored);
    fs::create_directories(work);
    std::cerr << "bench: installing " << peer.what << " with npm, once" << std::endl;
    std::ofstream(work / "package.json")
        << "{\"private\":true,\"type\":\"module\",\"dependencies\":{" << peer.dependencies
        << "}}\n";
    const std::string log = (work / "npm.log").string();
    if (run({"npm", "install", "--no-audit", "--no-fund"}, work.string(), log) != 0)
      return fail(Code::kUnavailable, "npm could not install " + peer.what + " (see " + log +
                                          "); nodejs and npm are needed");
    fs::rename(work, folder);
  }
  if (auto ok = write_program(folder, peer); !ok) return tl::unexpected(ok.error());
  return folder;
}

}  // namespace soma::bench
