// Which account runs PostgreSQL, and running programs as it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::projections {

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
};

// PostgreSQL refuses to run as root: then the package's own account runs it, else oneself.
Result<Account> server_account();

// In a forked child: drops root. Ends the child when that fails.
void become(const Account& account);

// Runs to its end as the account, output appended to `log`; it dies with the calling thread, and
// with all that it started once `stopping` says so. The exit status, or -1.
int run_as(const Account& account, const std::vector<std::string>& args, const std::string& log,
           const std::function<bool()>& stopping);

// May the account enter the folder? Homes of root are closed to it.
bool can_enter(const Account& account, const std::string& folder);

// A folder of the account's own, 0700. Refuses what somebody else put there, and symbolic links.
Status own_folder(const Account& account, const std::string& path);

}  // namespace soma::projections
