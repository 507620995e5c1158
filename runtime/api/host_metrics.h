// What the host has counted, as Prometheus series.
#pragma once

#include "runtime/api/api.h"

namespace soma::runtime::api {

void refresh_host_metrics(const Node& node);  // one caller at a time

}  // namespace soma::runtime::api
