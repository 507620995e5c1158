// Reads what was recorded; decides nothing.
#include "tools/cli/explain.h"

#include <boost/json.hpp>

#include "actors/session/prompt.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr int kPage = 200;

json::value member_of(const json::value& object, const char* name) {
  const auto* o = object.if_object();
  const auto* v = o ? o->if_contains(name) : nullptr;
  return v ? *v : json::value(nullptr);
}

// The last item of a paged list that `wanted` likes; null when there is none.
Result<json::value> last_of(const Context& c, const std::string& path,
                            const std::function<bool(const json::value&)>& wanted) {
  json::value found;
  std::string cursor;
  do {
    const char join = path.find('?') == path.npos ? '?' : '&';
    auto page = c.call("GET", path + join + "limit=" + std::to_string(kPage) +
                                  (cursor.empty() ? "" : "&cursor=" + url_encoded(cursor)));
    if (!page) return page;
    if (const auto items = member_of(*page, "items"); items.is_array())
      for (const auto& item : items.get_array())
        if (wanted(item)) found = item;
    cursor = text_of(*page, "next_cursor");
  } while (!cursor.empty());
  return found;
}

void add_event(json::object& out, const json::value& event) {
  for (const char* name : {"event_id", "position", "time"}) out[name] = member_of(event, name);
}

// How the turn ended, and by which event where it ended badly.
Result<json::object> outcome_of(const Context& c, const std::string& session,
                                const json::value& turn) {
  json::object out{{"turn", member_of(turn, "turn")},
                   {"status", member_of(turn, "status")},
                   {"error", member_of(turn, "error")}};
  if (out["error"].is_null()) return out;
  const auto number = out["turn"];
  auto event =
      last_of(c, "/v1/sessions/" + url_encoded(session) + "/events", [&](const json::value& e) {
        const std::string type = text_of(e, "type");
        return (type == "turn.failed" || type == "turn.reopened") &&
               member_of(member_of(e, "data"), "turn") == number;
      });
  if (!event) return tl::unexpected(event.error());
  out["event"] = member_of(*event, "type");
  add_event(out, *event);
  return out;
}

int explain_session(const Context& c, const std::string& id) {
  auto session = c.call("GET", "/v1/sessions/" + url_encoded(id));
  if (!session) return c.fail(session.error());
  const auto turns = member_of(*session, "turns");
  if (!turns.is_array() || turns.get_array().empty())
    return c.fail({Code::kNotFound, "the session has no turn, so no decision", {}});
  const auto& turn = turns.get_array().back();
  auto decision = c.read("/v1/decisions/" + url_encoded(text_of(turn, "decision_id")));
  if (!decision) return c.fail(decision.error());
  auto outcome = outcome_of(c, id, turn);
  if (!outcome) return c.fail(outcome.error());
  if (auto* o = decision->if_object()) (*o)["outcome"] = std::move(*outcome);
  c.print(*decision);
  return 0;
}

json::object row(const char* check, bool refuses, std::string why) {
  return {{"check", check}, {"verdict", refuses ? "refuses" : "lets in"}, {"why", std::move(why)}};
}
json::object unseen(const char* check, const Error& error) {
  return {{"check", check}, {"verdict", "unknown"}, {"why", error.message}};
}

json::object kill_switch(const Context& c) {
  auto now = c.call("GET", "/v1/admin/kill-switch");
  if (!now) return unseen("kill_switch", now.error());
  if (!member_of(*now, "enabled").is_bool() || !member_of(*now, "enabled").get_bool())
    return row("kill_switch", false, "off");
  const std::string by = text_of(*now, "changed_by");
  const auto& at_start = member_of(*now, "at_start");
  if (at_start.is_bool() && at_start.get_bool())
    return row("kill_switch", true, "on by SOMAGENT_GATEWAY_KILL_SWITCH_ENABLED");
  auto out = row("kill_switch", true,
                 "on by " + (by.empty() ? "another tenant" : by) + ": " + text_of(*now, "reason"));
  if (by.empty()) return out;
  auto event = last_of(c, "/v1/audit/events?type=gateway.kill_switch.changed",
                       [](const json::value&) { return true; });
  if (event) add_event(out, *event);
  return out;
}

json::object constitution(const Context& c) {
  auto now = c.call("GET", "/v1/constitution");
  if (!now && now.error().code == Code::kNotFound)
    return row("constitution", true,
               "none signed with a trusted key is in force; see `soma constitution load`");
  if (!now) return unseen("constitution", now.error());
  auto out = row("constitution", false,
                 "version " + text_of(*now, "version") + " (" + text_of(*now, "scope") + ")");
  out["constitution_version"] = text_of(*now, "version");
  out["constitution_hash"] = text_of(*now, "hash");
  return out;
}

json::object mode(const Context& c) {
  auto now = c.call("GET", "/v1/settings/mode");
  if (!now) return unseen("mode", now.error());
  const std::string by = text_of(*now, "changed_by");
  auto out = row("mode", false, text_of(*now, "mode") + (by.empty() ? "" : ", switched by " + by));
  if (by.empty()) return out;
  auto event =
      last_of(c, "/v1/audit/events?type=mode.changed", [](const json::value&) { return true; });
  if (event) add_event(out, *event);
  return out;
}

// What the shortest turn reserves before it runs, with max_tokens as it is by default.
std::int64_t least_tokens() { return actors::estimate_tokens({}, "", actors::kDefaultMaxTokens); }

std::int64_t least_of(const std::string& unit, std::int64_t price_per_million) {
  if (unit == "requests") return 1;
  if (unit == "money") return (least_tokens() * price_per_million + 999'999) / 1'000'000;
  return least_tokens();
}

// A row for each budget that has no room for what the shortest turn reserves; one that says so
// where all have.
json::array budgets(const Context& c) {
  auto me = c.call("GET", "/v1/whoami");
  if (!me) return {unseen("budget", me.error())};
  const std::string path = "/v1/tenants/" + url_encoded(text_of(*me, "tenant_id"));
  auto settings = c.call("GET", path);
  if (!settings) return {unseen("budget", settings.error())};
  auto usage = c.call("GET", path + "/usage");
  if (!usage) return {unseen("budget", usage.error())};
  const auto price = member_of(*settings, "price_per_million_tokens");
  const std::int64_t per_million = price.is_int64() ? price.get_int64() : 0;
  const auto needs = [](std::int64_t least) {
    return ", and a turn reserves at least " + std::to_string(least) + ", with max_tokens " +
           std::to_string(actors::kDefaultMaxTokens);
  };
  json::array out;
  const auto left = member_of(*usage, "remaining_tokens");
  if (left.is_int64() && left.get_int64() < least_tokens())
    out.push_back(row("budget", true,
                      std::to_string(left.get_int64()) +
                          " of the tenant's budgets_tokens are left" + needs(least_tokens())));
  if (const auto rules = member_of(*usage, "budgets"); rules.is_array())
    for (const auto& rule : rules.get_array()) {
      const auto remaining = member_of(rule, "remaining");
      const std::int64_t least = least_of(text_of(rule, "unit"), per_million);
      if (!remaining.is_int64() || remaining.get_int64() >= least) continue;
      const std::string resets = text_of(rule, "resets_at");
      out.push_back(row("budget", true,
                        std::to_string(remaining.get_int64()) + " is left of the " +
                            text_of(rule, "scope") + "'s " + text_of(rule, "unit") + " a " +
                            text_of(rule, "window") + needs(least) +
                            (resets.empty() ? "" : "; it resets at " + resets)));
    }
  if (out.empty())
    out.push_back(row("budget", false,
                      "each has room for a short turn, which reserves " +
                          std::to_string(least_tokens()) + " tokens"));
  return out;
}

int explain_now(const Context& c) {
  json::array rows{kill_switch(c), constitution(c), mode(c)};
  for (auto& budget : budgets(c)) rows.push_back(std::move(budget));
  c.print_list(rows, {"check", "verdict", "why"}, {"constitution_version", "event_id", "position"});
  return 0;
}

}  // namespace

int explain(const Context& context, const std::string& id) {
  if (id.empty()) return explain_now(context);
  if (!id.starts_with("dec_")) return explain_session(context, id);
  return context.show(context.read("/v1/decisions/" + url_encoded(id)));
}

}  // namespace soma::cli
