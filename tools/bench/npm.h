// Peers from npm: installed once a version into the user's cache folder.
#pragma once

#include <filesystem>
#include <string>

#include "schemas/base/errors.h"

namespace soma::bench {

struct NpmPeer {
  std::string folder;         // its name in the cache: package and versions
  std::string what;           // for people, with its size
  std::string dependencies;   // the members of package.json's object of that name
  std::string file, program;  // what runs there: an ES module's name and text
};

// Where it is installed. kUnavailable: npm is missing or failed; names what to install.
Result<std::filesystem::path> installed(const NpmPeer& peer);

}  // namespace soma::bench
