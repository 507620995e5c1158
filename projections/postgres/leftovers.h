// What a killed predecessor leaves: processes, shared memory, pid and lock files.
#pragma once

#include <functional>
#include <string>

namespace soma::projections {

// Ends every postgres process that still works in the cluster's folder (asks, then kills), frees
// its shared memory, and removes the files that would keep a new postmaster from starting. Other
// processes are not touched, whatever pid the files name. At most about 6 s. False: stopped before
// they had ended, and no file is removed.
bool clear_leftovers(const std::string& cluster, const std::string& socket_folder,
                     const std::function<bool()>& stopping);

}  // namespace soma::projections
