// Pages of events, in their order, until one lies beyond the place. An event that follows it under
// an earlier time, since the clock was set back, is left out as well: state is folded in order, so
// that the state there ends where the history does.
#include "tools/cli/history.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "runtime/api/journal_views.h"
#include "tools/cli/filter.h"

namespace soma::cli {

namespace json = boost::json;
namespace views = runtime::views;

namespace {

const std::vector<std::string> kColumns{"sequence", "type", "time", "position", "principal"};
const std::vector<std::string> kWide{"event_id", "causation_id", "data"};

bool holds(const views::At& at, const json::value& event) {
  return at.holds(event.at("sequence").to_number<std::uint64_t>(),
                  views::parse_iso_time(text_of(event, "time")).value_or(0),
                  parse_position(text_of(event, "position")).value_or(Position{}));
}

}  // namespace

int show_history(const Context& c, const std::string& route, const std::string& at) {
  if (at.empty()) return c.list(route, "items", kColumns, kWide);
  const auto place = views::parse_at(at);
  if (!place) return c.fail(place.error());
  auto wanted = Filter::parse(c.filters);
  if (!wanted) return c.fail(wanted.error());
  json::array out;
  std::string next = c.cursor;
  bool more = false;
  do {
    std::string page = route + (route.find('?') == route.npos ? "?" : "&") + "limit=200";
    if (!next.empty()) page += "&cursor=" + url_encoded(next);
    auto r = c.read(page);
    if (!r) return c.fail(r.error());
    next = text_of(*r, "next_cursor");
    for (const auto& event : r->at("items").as_array()) {
      if (!holds(*place, event)) {
        next.clear();
        break;
      }
      if (!wanted->matches(event)) continue;
      more = static_cast<int>(out.size()) >= c.limit;
      if (more) break;
      out.push_back(event);
    }
  } while (!next.empty() && !more);
  c.print_list(out, kColumns, kWide);
  if (more && c.watch_s <= 0) c.note("more: raise --limit");
  return 0;
}

void add_at_option(CLI::App& command, std::string& at) {
  command.add_option("--at", at, "Up to this sequence, UTC time or position")->type_name("AT");
}

}  // namespace soma::cli
