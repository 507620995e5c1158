// A work folder that is renamed when it is whole.
#include "tools/bench/peer_folder.h"

#include <chrono>
#include <cstdlib>
#include <fstream>
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

}  // namespace

Result<fs::path> peer_folder(const std::string& name,
                             const std::function<Status(const fs::path& work)>& fill) {
  const fs::path folder = cache_folder() / "peers" / name;
  if (fs::exists(folder)) return folder;
  const fs::path work = folder.string() + ".new";
  std::error_code failed;
  fs::remove_all(work, failed);
  fs::create_directories(work, failed);
  if (failed) return fail(Code::kIo, "cannot make " + work.string() + ": " + failed.message());
  if (auto ok = fill(work); !ok) return tl::unexpected(ok.error());
  fs::rename(work, folder, failed);
  if (failed) return fail(Code::kIo, "cannot make " + folder.string() + ": " + failed.message());
  return folder;
}

bool ended_well(const std::vector<std::string>& command, const std::string& folder,
                const std::string& log) {
  auto child = Child::start({command, {}, folder, log, false});
  if (!child) return false;
  while ((*child)->running()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return (*child)->stop() == 0;
}

Status write_text(const fs::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::trunc);
  out << text;
  if (!out.flush()) return fail(Code::kIo, "cannot write " + file.string());
  return {};
}

}  // namespace soma::bench
