// The node's own signing key on disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/security/keys.h"

namespace soma::runtime::security {

// The key that signs, and those that signed before it and still verify.
struct RetiredKey {
  Key key;
  std::int64_t until_s = 0;  // Unix seconds; it verifies nothing after that
};
struct OwnKeys {
  Key signing;
  std::vector<RetiredKey> retired;
};

// One key of `dir`, by itself: see load_or_create_keys.
Result<Key> load_or_create_key(const std::string& dir);

// Reads `dir`/token_ed25519.pem, or makes it: folder 0700, file 0600, complete or absent even after
// a crash, and the same key for two processes that start at once. A file that others may read, or
// that is no Ed25519 key, is an error that names it. Retired public keys are in
// `dir`/retired.json.
Result<OwnKeys> load_or_create_keys(const std::string& dir);

// Puts `next` in the place of the signing key, which verifies until `until_s`; 0: no more, and
// neither do those retired before. Each file is complete or unchanged even after a crash; a key is
// never in use before its predecessor is kept.
Result<OwnKeys> replace_key(const std::string& dir, const OwnKeys& now, const Key& next,
                            std::int64_t now_s, std::int64_t until_s);

}  // namespace soma::runtime::security
