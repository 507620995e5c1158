// A session as a file that another folder can take in: its events, and who vouches for them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/security/keys.h"
#include "schemas/base/errors.h"
#include "soma/v1/session.pb.h"

namespace soma::runtime::api {

// The last line of an export, with its line break: a compact JWS of type `soma-session-export` over
// {tenant, session_id, events, sha256}, the hash being that of all bytes before it.
Result<std::string> export_signature(const security::Key& key, const std::string& tenant,
                                     const std::string& session_id, std::uint64_t events,
                                     std::string_view lines);

struct SessionExport {
  std::string tenant, session_id, key_id;
  std::vector<v1::SessionEvent> events;
};
// Reads and verifies: signed by one of these keys, nothing changed, missing or added, the events
// numbered from 1, of one session, each exactly what this build makes of it, and their fold the
// state in the first line. kInvalidArgument says which line is wrong.
Result<SessionExport> read_export(std::string_view text, const std::vector<security::Key>& trusted);

}  // namespace soma::runtime::api
