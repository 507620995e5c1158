// Governed sessions as load: our server over the scripted model, tenants, what a client does.
#pragma once

#include "tools/bench/servers.h"

namespace soma::bench {

using Tenants = std::vector<std::string>;  // header lines of their tokens

struct Setting {
  std::unique_ptr<UpstreamServer> upstream;
  std::unique_ptr<SomaServer> soma;
  Tenants tenants;
};

Result<Setting> set_up(const Options& options);

// Requests that are to be answered with 200.
HttpScript script_of(const Options& options, std::uint16_t port);
// A session of one turn: started, then followed until its stream ends.
HttpScript session_script(const Options& options, std::uint16_t port, const Tenants& tenants);

}  // namespace soma::bench
