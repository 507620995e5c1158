// What of the settings the routes go by, and all routes of a node.
#pragma once

#include <vector>

#include "runtime/api/api.h"
#include "runtime/config/config.h"
#include "runtime/http/router.h"

namespace soma::runtime {

void give_settings(api::Node& node, const config::Config& config);

// Of the gateway and of the memory's address. The node outlives the router.
void register_routes(http::Router& router, api::Node& node);

class Cluster;
std::vector<api::StandbyRow> standby_rows(const Cluster& cluster);
// What the node keeps of a tenant's heads, for other nodes: lines of JSON.
std::vector<std::string> kept_heads(const std::string& data_dir, const std::string& tenant);

}  // namespace soma::runtime
