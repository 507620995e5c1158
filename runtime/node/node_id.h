// Small files of the data folder.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/config/config.h"
#include "schemas/base/errors.h"

namespace soma::runtime {

// Whole or not at all, also for who reads meanwhile.
Status write_atomically(const std::filesystem::path& path, const std::string& text);
// As configured, else as made at the first start and kept.
Result<std::string> node_id_of(const config::Config& config);

}  // namespace soma::runtime
