// Where programs of peers are kept: the user's cache folder, a folder a peer and version.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::bench {

// The peer's folder, filled by `fill` in a work folder of its own where it is not there yet: a
// half-made one is never used. `fill` says what failed.
Result<std::filesystem::path> peer_folder(
    const std::string& name, const std::function<Status(const std::filesystem::path& work)>& fill);

// Waits for it; both streams go to `log`. True when it ended with 0.
bool ended_well(const std::vector<std::string>& command, const std::string& folder,
                const std::string& log);

Status write_text(const std::filesystem::path& file, const std::string& text);

}  // namespace soma::bench
