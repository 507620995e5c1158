// The filter.
#include "tools/offline/replay_scope.h"

#include "runtime/api/journal_views.h"

namespace soma::cli {

Result<Wanted> wanted_of(const ReplayScope& s) {
  const auto from = runtime::views::parse_at(s.from), to = runtime::views::parse_at(s.to);
  const auto place = [](const auto& at) { return at && !at->sequence; };
  if (!place(from) || !place(to))
    return fail(Code::kInvalidArgument,
                "--from and --to take a position as 3/17, or a UTC time as 2026-01-31T10:00:00Z",
                place(from) ? "--to" : "--from");
  if (s.from.empty() && s.to.empty() && s.actor.empty() && s.tenant.empty()) return Wanted();
  return Wanted([from = *from, to = *to, actor = s.actor, tenant = s.tenant](
                    const ActorKey& key, Position at, std::int64_t time_ms) {
    if (!tenant.empty() && key.tenant != tenant) return false;
    if (!actor.empty() && to_string(key) != actor && key.type + "/" + key.id != actor) return false;
    if (from.position && at.partition == from.position->partition &&
        at.offset < from.position->offset)
      return false;
    if (to.position && at.partition == to.position->partition && at.offset > to.position->offset)
      return false;
    return (!from.time_ms || time_ms >= *from.time_ms) && (!to.time_ms || time_ms <= *to.time_ms);
  });
}

Status matched(const ReplayScope& s, std::uint64_t commands) {
  if (commands > 0 || (s.actor.empty() && s.tenant.empty())) return {};
  std::string what = "no recorded command is of";
  if (!s.actor.empty()) what += " the actor " + s.actor;
  if (!s.tenant.empty()) what += (s.actor.empty() ? " the tenant " : " in the tenant ") + s.tenant;
  if (!s.from.empty() || !s.to.empty()) what += " between --from and --to";
  return fail(Code::kNotFound, what, s.actor.empty() ? "--tenant" : "--actor");
}

std::string to_string(const ReplayScope& s) {
  return s.from + "|" + s.to + "|" + s.actor + "|" + s.tenant;
}

}  // namespace soma::cli
