// package.json, npm, and the program beside what it installed.
#include "tools/bench/npm.h"

#include <iostream>

#include "tools/bench/peer_folder.h"

namespace soma::bench {

namespace fs = std::filesystem;

Result<fs::path> installed(const NpmPeer& peer) {
  auto folder = peer_folder(peer.folder, [&](const fs::path& work) -> Status {
    std::cerr << "bench: installing " << peer.what << " with npm, once" << std::endl;
    if (auto ok = write_text(work / "package.json",
                             "{\"private\":true,\"type\":\"module\",\"dependencies\":{" +
                                 peer.dependencies + "}}\n");
        !ok)
      return ok;
    const std::string log = (work / "npm.log").string();
    if (ended_well({"npm", "install", "--no-audit", "--no-fund"}, work.string(), log)) return {};
    return fail(Code::kUnavailable, "npm could not install " + peer.what + " (see " + log +
                                        "); nodejs and npm are needed");
  });
  if (!folder) return folder;
  // Another text than that of the build before is another program.
  if (auto ok = write_text(*folder / peer.file, peer.program); !ok)
    return tl::unexpected(ok.error());
  return folder;
}

}  // namespace soma::bench
