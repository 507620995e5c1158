// What of a node's metrics is worth looking at, and what is worth waking somebody.
#pragma once

#include <string>
#include <vector>

namespace soma::cli {

struct Query {
  std::string expression;  // PromQL; SCOPE stands for the label matchers of job and instance
  std::string legend;      // of Grafana, as "{{outcome}}"
};

struct Panel {
  std::string row, title;
  std::string unit;  // Grafana's id: "s", "reqps", "short", "percentunit", "bytes"
  std::vector<Query> queries;
};

struct Alert {
  std::string name, expression;  // as of Query
  std::string holds_for;         // "5m"
  std::string severity;          // "critical": now; "warning": in working hours
  std::string summary;
  std::string runbook;  // a heading of docs/runbooks.md; empty: none
};

// In the order in which they are shown; panels of a row stand together.
std::vector<Panel> panels();
const std::vector<Alert>& alerts();

// The expression with these matchers in place of SCOPE: `{SCOPE}` or `{SCOPE,outcome="done"}`.
std::string scoped(const std::string& expression, const std::string& matchers);

}  // namespace soma::cli
