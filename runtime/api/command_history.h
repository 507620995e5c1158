// Answers that need no record of their own: the command that led to them stands in its actor's
// history for good, and makes the same again (ADR 0026).
#pragma once

#include "runtime/api/submit.h"

namespace soma::runtime::api {

// Error::field of an endpoint that is off by the settings: waiting for it is of no use.
inline constexpr char kNoModel[] = "slm.off";

// Partitions know the ids of applied commands for HostLimits::dedupe_keep_ms (25 h); an hour less,
// as the clocks of two nodes may differ.
inline constexpr std::int64_t kCommandsKnownMs = 24LL * 3600 * 1000;

// When an earlier request with the key claimed it, for one that runs again; 0: not known, or it is
// the first. Kept among the parameters, under a name that no path's pattern can have.
void note_claimed(http::Request& request, std::int64_t at_ms);
std::int64_t claimed_ms_of(const http::Request& request);

// As submit(), for an `answer` that looks at nothing but what was accepted and the request. Where
// it says `settled` of a success, the command led to events, and the answer is not recorded beside
// them (keys.h). A command whose key was claimed so long ago that its partition may have forgotten
// it is looked for in the actor's history first, and never applied twice.
void submit_settled(const Node& node, const RequestPtr& request, const http::Responder& responder,
                    Submission submission, std::function<http::Response(const Accepted&)> answer);

// What the command was answered, as recorded; nothing where it led to no event of the actor.
// Blocking, and reads the history from its beginning: for what is rare. Fails as Host::history and
// the log do.
Result<std::optional<Accepted>> find_in_history(const Node& node, const ActorKey& actor,
                                                const std::string& command_id);

}  // namespace soma::runtime::api
