// What a killed predecessor leaves: processes, shared memory, pid and lock files.
#pragma once

#include <string>

namespace soma::projections {

// Ends every postgres process that still works in the cluster's folder (asks, then kills), frees
// its shared memory, and removes the files that would keep a new postmaster from starting. Other
// processes are not touched, whatever pid the files name. At most about 6 s.
void clear_leftovers(const std::string& cluster, const std::string& socket_folder);

}  // namespace soma::projections
