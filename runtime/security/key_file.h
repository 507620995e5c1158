// The node's own signing key on disk.
#pragma once

#include <string>

#include "runtime/security/keys.h"

namespace soma::runtime::security {

// Reads `dir`/token_ed25519.pem, or makes it: folder 0700, file 0600, complete or absent even after
// a crash, and the same key for two processes that start at once. A file that others may read, or
// that is no Ed25519 key, is an error that names it.
Result<Key> load_or_create_key(const std::string& dir);

}  // namespace soma::runtime::security
