// Where a node may be found: what it left in its folder, and named contexts.
#pragma once

#include <optional>
#include <string>

#include "tools/cli/commands.h"

namespace soma::cli {

struct Profile {
  std::string server, token;
  std::string ca_file, cert_file, key_file;  // for https
};
// The context in force; empty members when none is.
Result<Profile> profile_of(const Context& context);
std::string contexts_file();

// What DATA_DIR/run/endpoints.json says; nothing when it is not there.
struct Endpoints {
  std::string http;
  int pid = 0;
  bool alive = false;         // false: it was killed and could not tidy up
  std::string tls_cert_file;  // the node's own; empty: it speaks in the clear
};
std::optional<Endpoints> endpoints_of(const std::string& folder);

}  // namespace soma::cli
