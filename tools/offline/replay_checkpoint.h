// How far a replay came, in a file: so that a long one can be stopped and gone on with.
#pragma once

#include <string>
#include <vector>

#include "runtime/verify/replay.h"

namespace soma::cli {

// Replays differ when the build or what they look at does; a checkpoint fits only its own.
struct ReplayIdentity {
  std::string build;  // digest of all actor types' schemas and sources
  std::string scope;  // --from, --to, --actor, --tenant
};
std::string build_digest(const actors::Catalog& catalog);

// Replaces the file whole, or leaves it as it was. kIo.
Status write_checkpoint(const std::string& file, const ReplayIdentity& identity,
                        const std::vector<runtime::ReplayedPartition>& so_far);
// kNotFound, kInvalidArgument (not a checkpoint), kConflict (of another build or scope).
Result<std::vector<runtime::ReplayedPartition>> read_checkpoint(const std::string& file,
                                                                const ReplayIdentity& identity);

}  // namespace soma::cli
