// Peers from Maven: jars fetched once a version into the user's cache folder, and a Java program
// over them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::bench {

struct MavenPeer {
  std::string folder;                  // its name in the cache: package and versions
  std::string what;                    // for people, with its size
  std::vector<std::string> artifacts;  // group:name:version, or group:name:version:type
  std::string name, program;           // a class with main, and its text
};

struct JavaProgram {
  std::filesystem::path folder;
  std::string class_path;
};
// Fetched and compiled. kUnavailable: Maven or a JDK is missing or failed; names what to install.
Result<JavaProgram> installed(const MavenPeer& peer);

}  // namespace soma::bench
