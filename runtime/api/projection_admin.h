// What an operator asks of the Postgres views: how far they are, proof, a rebuild.
#pragma once

#include "runtime/api/api.h"

namespace soma::runtime::api {

void register_projection_admin(http::Router& router, const Node& node);
// Gauges of the views, as they stand now.
void refresh_projection_metrics(const Node& node);

}  // namespace soma::runtime::api
