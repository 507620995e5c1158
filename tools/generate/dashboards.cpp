// Signals to JSON; Prometheus reads the same as YAML.
#include "tools/generate/dashboards.h"

#include <boost/json.hpp>
#include <cctype>

#include "tools/generate/signals.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr int kColumns = 24, kWidth = 8, kHeight = 8;  // of Grafana's grid
const json::object kSource{{"type", "prometheus"}, {"uid", "${source}"}};

json::object variable(const char* name, const std::string& query, const json::value& current) {
  return {
      {"name", name},          {"type", "query"},
      {"datasource", kSource}, {"query", json::object{{"query", query}, {"refId", name}}},
      {"definition", query},   {"refresh", 2},
      {"includeAll", true},    {"multi", true},
      {"allValue", ".*"},      {"current", json::object{{"text", current}, {"value", current}}}};
}

json::object row(const std::string& title, int id, int y) {
  return {{"id", id},
          {"type", "row"},
          {"title", title},
          {"collapsed", false},
          {"panels", json::array{}},
          {"gridPos", json::object{{"x", 0}, {"y", y}, {"w", kColumns}, {"h", 1}}}};
}

json::object graph(const Panel& p, int id, int x, int y) {
  json::array targets;
  for (std::size_t i = 0; i < p.queries.size(); ++i)
    targets.push_back(json::object{
        {"refId", std::string(1, static_cast<char>('A' + i))},
        {"datasource", kSource},
        {"expr", scoped(p.queries[i].expression, "job=~\"$job\",instance=~\"$instance\"")},
        {"legendFormat", p.queries[i].legend}});
  return {{"id", id},
          {"type", "timeseries"},
          {"title", p.title},
          {"datasource", kSource},
          {"fieldConfig", json::object{{"defaults", json::object{{"unit", p.unit}, {"min", 0}}},
                                       {"overrides", json::array{}}}},
          {"targets", std::move(targets)},
          {"gridPos", json::object{{"x", x}, {"y", y}, {"w", kWidth}, {"h", kHeight}}}};
}

// "The disk is full" -> "the-disk-is-full", as headings are linked to.
std::string anchor(const std::string& heading) {
  std::string out;
  for (const char c : heading) {
    if (std::isalnum(static_cast<unsigned char>(c)))
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (c == ' ')
      out += '-';
  }
  return out;
}

}  // namespace

json::object grafana_dashboard(const std::string& job) {
  json::array all;
  int id = 0, x = 0, y = 0;
  std::string in;
  for (const auto& p : panels()) {
    if (p.row != in || x + kWidth > kColumns) {
      if (id > 0) y += kHeight;
      x = 0;
    }
    if (p.row != in) all.push_back(row(in = p.row, ++id, y++));
    all.push_back(graph(p, ++id, x, y));
    x += kWidth;
  }
  return {
      {"uid", "soma"},
      {"title", "SomaStack"},
      {"tags", json::array{"soma"}},
      {"schemaVersion", 39},
      {"editable", true},
      {"refresh", "30s"},
      {"time", json::object{{"from", "now-1h"}, {"to", "now"}}},
      {"templating",
       json::object{
           {"list",
            json::array{
                json::object{{"name", "source"}, {"type", "datasource"}, {"query", "prometheus"}},
                variable("job", "label_values(soma_host_frames_total, job)", json::array{job}),
                variable("instance",
                         "label_values(soma_host_frames_total{job=~\"$job\"}, instance)",
                         json::array{"$__all"})}}}},
      {"panels", std::move(all)}};
}

json::object prometheus_rules(const std::string& job) {
  json::array rules;
  for (const auto& a : alerts()) {
    json::object notes{{"summary", a.summary}};
    if (!a.runbook.empty()) notes["runbook"] = "docs/runbooks.md#" + anchor(a.runbook);
    rules.push_back(json::object{{"alert", a.name},
                                 {"expr", scoped(a.expression, "job=\"" + job + "\"")},
                                 {"for", a.holds_for},
                                 {"labels", json::object{{"severity", a.severity}}},
                                 {"annotations", std::move(notes)}});
  }
  return {{"groups", json::array{json::object{{"name", "soma"}, {"rules", std::move(rules)}}}}};
}

}  // namespace soma::cli
