// Through the node that runs, under the caller's tenant; else on the folder or a cluster's journal.
#include "tools/offline/sql_command.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "runtime/query/sql.h"
#include "tools/offline/folder.h"

namespace soma::cli {

namespace json = boost::json;
namespace query = runtime::query;

namespace {

struct Flags {
  std::string text;
  int rows = 1000;
  double seconds = 10;
};

Result<query::Answer> asked_of_node(const Context& c, const std::string& sql,
                                    const query::Limits& limits) {
  auto r = c.call("POST", "/v1/log/sql",
                  json::object{{"query", sql}, {"rows", limits.rows}, {"time_ms", limits.time_ms}});
  if (!r) return tl::unexpected(r.error());
  query::Answer out;
  for (const auto& name : r->at("columns").as_array()) out.columns.emplace_back(name.as_string());
  out.rows = r->at("rows").as_array();
  out.more = r->at("more").as_bool();
  return out;
}

Result<query::Answer> asked(const Context& c, const std::string& sql, const query::Limits& limits) {
  if (c.kafka.empty() && c.node_is_there()) return asked_of_node(c, sql, limits);
  auto log = offline::open_source(c);
  if (!log && c.kafka.empty() && !c.offline && log.error().code == Code::kNotFound)
    return tl::unexpected(c.url().error());  // neither a node nor a folder
  if (!log) return tl::unexpected(log.error());
  return query::run_sql(**log, *actors::standard_catalog(), nullptr, sql, limits);
}

int run_query(const Context& c, const Flags& f) {
  auto text = f.text == "-" ? text_file("-") : Result<std::string>(f.text);
  if (!text) return c.fail(text.error());
  query::Limits limits;
  limits.rows = static_cast<std::size_t>(f.rows);
  limits.time_ms = static_cast<std::int64_t>(f.seconds * 1000);
  auto answer = asked(c, *text, limits);
  if (!answer) {
    if (answer.error().code == Code::kDeadlineExceeded)
      return c.fail(answer.error(),
                    "ask for one partition (where partition = 3), or give --timeout");
    if (answer.error().code == Code::kInvalidArgument)
      return c.fail(answer.error(), "the tables are events, actors, sessions, decisions, effects");
    return c.fail(answer.error());
  }
  c.print_list(answer->rows, answer->columns);
  if (answer->more)
    c.note("more: only the first " + std::to_string(answer->rows.size()) + " rows; raise --limit");
  return 0;
}

}  // namespace

void add_sql_verb(CLI::App& log, Context& context, const Wrap& run) {
  auto f = std::make_shared<Flags>();
  auto* sql = add_verb(
      log, context, run, "sql", "One SELECT over events, actors, sessions, decisions, effects",
      Effect::kRead, "soma log sql \"select type, count(*) as n from events group by type\"",
      [&context, f] { return run_query(context, *f); });
  sql->add_option("query", f->text, "The SELECT; - reads it from stdin")->required();
  sql->add_option("--limit", f->rows, "At most so many rows (default 1000)")
      ->check(CLI::Range(1, static_cast<int>(query::kMostRows)))
      ->type_name("N");
  sql->add_option("--timeout", f->seconds, "Ends after so many seconds (default 10; a node: 30)")
      ->check(CLI::Range(0.001, static_cast<double>(query::kMostTimeMs) / 1000))
      ->type_name("SECONDS");
  add_watch_option(*sql, context);
}

}  // namespace soma::cli
