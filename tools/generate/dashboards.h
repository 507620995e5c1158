// The table of signals in the forms that other systems read.
#pragma once

#include <boost/json/object.hpp>
#include <string>

namespace soma::cli {

// A Grafana dashboard (schema 39) over any Prometheus data source, with the job `job` preset.
// Import it as it is.
boost::json::object grafana_dashboard(const std::string& job);

// Alert rules of Prometheus for the targets of the job: one group.
boost::json::object prometheus_rules(const std::string& job);

}  // namespace soma::cli
