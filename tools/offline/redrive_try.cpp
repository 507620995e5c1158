// The journal's parked entries, and the state before them.
#include "tools/offline/redrive_try.h"

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <vector>

#include "events/frames.h"
#include "runtime/api/journal_views.h"
#include "runtime/api/redrive_try.h"
#include "tools/offline/folder.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

using runtime::api::ParkedCommand;

struct Found {
  ActorKey key;
  std::optional<runtime::views::Fold> fold;
  std::vector<ParkedCommand> waiting;
};

bool is_named(const v1::ActorRef& ref, const std::string& name) {
  const std::string short_name = ref.type() + "/" + ref.id();
  return name == short_name || name == ref.tenant() + "/" + short_name;
}

Status take(const actors::Catalog& catalog, const v1::Entry& entry, Found& out) {
  const ActorKey key = actors::to_key(entry.actor());
  if (out.key.type.empty()) out.key = key;
  if (!(key == out.key))
    return soma::fail(Code::kConflict,
                      "several tenants have such an actor; say which, as " + to_string(out.key));
  if (!out.fold) {
    const auto* type = catalog.find(key.type);
    if (!type) return soma::fail(Code::kNotSupported, "this build has no actor type " + key.type);
    out.fold.emplace(*type);
  }
  const std::string& id = entry.context().command_id();
  const auto same = [&](const ParkedCommand& p) { return p.context.command_id() == id; };
  const auto known = std::find_if(out.waiting.begin(), out.waiting.end(), same);
  if (!entry.parked().empty()) {
    if (known == out.waiting.end())
      out.waiting.push_back({entry.context(), entry.command(), entry.parked()});
    return {};
  }
  if (known != out.waiting.end()) out.waiting.erase(known);
  for (const auto& event : entry.events())
    if (auto ok = out.fold->apply(event); !ok) return ok;
  return {};
}

Result<Found> find(const events::Log& log, const actors::Catalog& catalog,
                   const std::string& name) {
  Found out;
  const auto look = [&](const events::ValidFrame& frame) -> Result<bool> {
    for (const auto& entry : frame.frame->entries())
      if (is_named(entry.actor(), name))
        if (auto ok = take(catalog, entry, out); !ok) return tl::unexpected(ok.error());
    return true;
  };
  if (auto ok = events::each_frame(log, look); !ok) return tl::unexpected(ok.error());
  if (out.key.type.empty()) return soma::fail(Code::kNotFound, "the journal has no actor " + name);
  if (out.waiting.empty())
    return soma::fail(Code::kNotFound, "no commands are parked for this actor");
  return out;
}

}  // namespace

int try_redrive(const Context& c, const std::string& actor) {
  auto log = offline::open_source(c);
  if (!log) return c.fail(log.error());
  const auto catalog = actors::standard_catalog();
  auto found = find(**log, *catalog, actor);
  if (!found) return c.fail(found.error());
  const auto tried =
      runtime::api::try_redrive(*catalog, found->key, found->fold->state(), found->waiting);
  return show_tried(c, tried.rows, tried.stuck);
}

int show_tried(const Context& c, const json::array& rows, bool stuck) {
  c.print_list(rows, {"command_id", "result", "events", "detail"}, {"time", "principal"});
  if (!stuck) return 0;
  return c.fail({Code::kConflict, "this build would park the actor again", {}},
                "see `detail` above; nothing was changed");
}

}  // namespace soma::cli
