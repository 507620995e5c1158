// One node carries erasures out; the others drop their caches and say so.
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>

#include "runtime/erasure/erasures.h"
#include "runtime/privacy/pieces.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"
#include "schemas/base/times.h"

namespace soma::runtime::erasure {

namespace json = boost::json;

namespace {

constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr auto kAgain = std::chrono::milliseconds(500);
// A request is kept before the actor is asked for a second key: so long nobody knows of it.
constexpr std::int64_t kAskedWithinMs = 60'000;
constexpr auto kRolled = std::chrono::milliseconds(events::kRollMs + 200);
// Who serves no partition is waited for so long, at the end: it may be down.
constexpr auto kNodesWait = std::chrono::seconds(20);

constexpr char kGivenUp[] = "this node stops, or another carries erasures out now";
constexpr char kViewsOpen[] =
    "not yet made anew: their database cannot be reached, or nobody feeds it";

Status slow(const std::string& owner) {
  return fail(Code::kUnavailable,
              "node " + owner + " serves partitions and has not dropped its caches yet");
}

}  // namespace

void Erasures::carry_on() {
  name_thread("soma-carrier");
  using Time = std::chrono::steady_clock;
  auto& keys = *p_.shared->keys;
  auto next = Time::now();
  std::uint64_t seen = 0;
  std::optional<Time::time_point> nudge;  // what notes held before goes from the broker's disk
  while (!stopping()) {
    std::this_thread::sleep_for(kPoll);
    if (const auto now = keys.notes_seen(); now != seen) {
      seen = now;
      nudge = Time::now() + kRolled;
    }
    if (Time::now() < next || !p_.shared->carries_out()) continue;
    next = Time::now() + kAgain;
    if (nudge && Time::now() > *nudge && keys.nudge()) nudge.reset();
    auto pending = p_.shared->records->pending();
    auto done = p_.shared->records->certificates();
    if (!pending || !done) continue;
    for (const auto& p : *pending) carry_out(p, p_.clock->now_ms());
    for (const auto& certificate : *done)
      if (auto ok = renew(certificate); !ok)
        log_error("a certificate of an erasure waits to be renewed",
                  {{"reason", ok.error().message}});
  }
}

// With two keys, what the log says of the request.
void Erasures::carry_out(const Pending& pending, std::int64_t now_ms) {
  if (stopping()) return;
  if (pending.begun || !pending.two_keys) return tell_outcome(pending, attempt(pending));
  const auto requests = requests_of(pending.tenant);
  if (!requests || requests->open().contains(pending.id)) return;
  Status kept;
  bool found = false;
  for (const auto& r : requests->approved()) {
    if (r.erasure_id() != pending.id) continue;
    found = true;
    Pending approved = pending;
    approved.begun = true;
    approved.approved_by = r.approved_by();
    kept = p_.shared->records->begin(approved);
  }
  if (!found && now_ms - pending.requested_ms > kAskedWithinMs) kept = records_.drop(pending);
  if (!kept)
    log_error("a request to erase waits",
              {{"erasure_id", pending.id}, {"reason", kept.error().message}});
}

// Once; the next pass goes on where it ended. Keys are destroyed only before it is released.
Status Erasures::attempt(const Pending& pending) {
  auto now = as_it_stands(pending);
  if (!now) return {};
  Pending& p = *now;
  auto recorded = record(p);
  if (!recorded) return tl::unexpected(recorded.error());
  if (auto ok = release(p); !ok) return ok;
  if (auto ok = p_.shared->keys->wait_forgotten(p.key_ids, [this] { return given_up(); }); !ok)
    return ok;
  auto dropped = wait_dropped(TopicRecords::Due{p.id, p.round, true}.name());
  if (!dropped) return tl::unexpected(dropped.error());
  auto done = certificate(p, p.key_ids, *recorded, std::move(*dropped));
  if (!done) return tl::unexpected(done.error());
  return records_.finish(p, *done);
}

// What names no person goes with every erasure, so it is sealed under passing keys no longer than a
// round may last, span_ms; when some node needs longer, another round begins once it has dropped
// its caches. The subject's own flag stands until all have.
Status Erasures::release(Pending& p) {
  if (p.released) return {};
  auto& keys = *p_.shared->keys;
  const std::string unknown = privacy::kUnknown;
  const auto round = [&] { return TopicRecords::Due{p.id, p.round}.in_round(); };
  if (!keys.is_over(p.tenant, p.subject, p.id)) {
    if (p.round > 0 && p.destroyed && keys.is_over(p.tenant, unknown, round())) {
      auto owner = owner_to_wait_for(round());
      if (!owner) return tl::unexpected(owner.error());
      if (!owner->empty()) return slow(*owner);
    }
    while (p.round == 0 || keys.is_over(p.tenant, unknown, round())) {
      ++p.round;
      p.destroyed = false;
    }
    auto ok = keys.begin_erasure(p.tenant, p.subject, p.id);
    if (ok) ok = keys.begin_erasure(p.tenant, unknown, round());
    if (ok) ok = destroy_round(p);
    auto over = keys.end_erasure(p.tenant, unknown, round());
    if (!ok) return ok;
    if (!over) return over;
    if (over = keys.end_erasure(p.tenant, p.subject, p.id); !over) return over;
  }
  p.released = true;
  return keep(p);
}

// Whoever serves a partition could put into the log what it remembers: it is waited for.
Status Erasures::destroy_round(Pending& p) {
  auto& keys = *p_.shared->keys;
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(p_.shared->span_ms);
  const std::string round = TopicRecords::Due{p.id, p.round}.in_round();
  const std::pair<std::string, std::string> whose[] = {{p.subject, p.id},
                                                       {privacy::kUnknown, round}};
  for (const auto& [subject, flag] : whose)
    for (auto& id : keys.doomed(p.tenant, subject, flag)) p.key_ids.push_back(std::move(id));
  if (!p.key_id.empty()) p.key_ids.push_back(p.key_id);
  if (!p.destroyed)
    if (auto ok = keep(p); !ok) return ok;  // their ids, before they are gone
  for (const auto& [subject, flag] : whose)
    if (auto ids = keys.destroy(p.tenant, subject, flag); !ids) return tl::unexpected(ids.error());
  p.destroyed = true;
  if (auto ok = keep(p); !ok) return ok;
  while (!given_up()) {
    auto owner = owner_to_wait_for(round);
    if (!owner) return tl::unexpected(owner.error());
    if (owner->empty()) return {};
    if (std::chrono::steady_clock::now() > until) return slow(*owner);
    std::this_thread::sleep_for(kPoll);
  }
  return fail(Code::kCancelled, kGivenUp);
}

// Beside what another node may have kept of it meanwhile.
Status Erasures::keep(Pending& p) {
  const auto now = as_it_stands(p);
  if (!now) return fail(Code::kCancelled, "another node has ended this erasure");
  p.key_ids.insert(p.key_ids.end(), now->key_ids.begin(), now->key_ids.end());
  std::sort(p.key_ids.begin(), p.key_ids.end());
  p.key_ids.erase(std::unique(p.key_ids.begin(), p.key_ids.end()), p.key_ids.end());
  p.released |= now->released;
  return p_.shared->records->begin(p);
}

// A node that serves partitions and whose folder has not told; none: empty.
Result<std::string> Erasures::owner_to_wait_for(const std::string& due) const {
  auto folders = p_.shared->records->folders();
  if (!folders) return tl::unexpected(folders.error());
  auto told = p_.shared->records->dropped(due);
  if (!told) return tl::unexpected(told.error());
  std::map<std::string, std::string> in_use;
  for (const auto& f : *folders) in_use[f.node_id] = f.id;
  for (const auto& owner : p_.shared->owners())
    if (const auto it = in_use.find(owner); it == in_use.end() || !told->contains(it->second))
      return owner;
  return std::string();
}

Result<Erasures::Dropped> Erasures::wait_dropped(const std::string& due) const {
  const auto until = std::chrono::steady_clock::now() + kNodesWait;
  while (!given_up()) {
    auto now = dropped_at_nodes(due);
    if (!now || now->waits_for.empty()) return now;
    if (std::chrono::steady_clock::now() > until) {
      auto owner = owner_to_wait_for(due);
      if (!owner) return tl::unexpected(owner.error());
      if (owner->empty()) return now;
      return tl::unexpected(slow(*owner).error());
    }
    std::this_thread::sleep_for(kPoll);
  }
  return fail(Code::kCancelled, kGivenUp);
}

Result<Erasures::Dropped> Erasures::dropped_at_nodes(const std::string& due) const {
  const auto& shared = *p_.shared;
  auto folders = shared.records->folders();
  if (!folders) return tl::unexpected(folders.error());
  auto told = shared.records->dropped(due);
  if (!told) return tl::unexpected(told.error());
  std::map<std::string, std::string> in_use;  // of each node
  for (const auto& f : *folders) in_use[f.node_id] = f.id;
  const auto owners = shared.owners();
  Dropped out;
  for (const auto& f : *folders) {
    const auto at = told->find(f.id);
    const bool done = at != told->end(),
               removed = shared.removed.contains(f.node_id) && !owners.contains(f.node_id);
    const std::string without = in_use.at(f.node_id) != f.id ? "replaced"
                                : removed                    ? "removed"
                                                             : "waits";
    out.nodes.push_back(
        json::object{{"node_id", f.node_id},
                     {"folder", f.id},
                     {"state", done ? "dropped" : without},
                     {"at", done ? json::value(iso_time(at->second)) : json::value(nullptr)}});
    if (!done && without == "waits") out.waits_for.emplace_back(f.node_id);
  }
  for (const auto& owner : owners)
    if (!in_use.contains(owner)) out.waits_for.emplace_back(owner);
  const bool views = told->contains(TopicRecords::kViews);
  if (!views) out.waits_for.emplace_back(TopicRecords::kViews);
  out.stores = {
      {"log", "what is sealed under the destroyed keys cannot be opened"},
      {"keys_topic",
       "overwritten, and compacted away on the leader; its other replicas are "
       "compacted by their own brokers"},
      {"snapshots", "removed on the nodes whose state is dropped; made anew from the log"},
      {"memory_index", "made anew from the log on the same nodes"},
      {"postgres", views ? kViewsDone : kViewsOpen},
      {"public_topics", "not touched: what was published stays for the topics' retention"}};
  return out;
}

// What was missing when it was signed may have been done since.
Status Erasures::renew(const json::object& certificate) const {
  const auto* waits = certificate.if_contains("waits_for");
  if (!waits || !waits->is_array() || waits->get_array().empty()) return {};
  Pending p;
  p.id = text(certificate, "erasure_id");
  auto now = dropped_at_nodes(TopicRecords::Due{p.id, 0, true}.name());
  if (!now) return tl::unexpected(now.error());
  if (now->waits_for == waits->get_array()) return {};
  json::object out = certificate;
  out["complete"] = now->waits_for.empty() && certificate.contains("clear_values") &&
                    certificate.at("clear_values") == 0;
  out["stores"] = std::move(now->stores);
  out["nodes"] = std::move(now->nodes);
  out["waits_for"] = std::move(now->waits_for);
  out["renewed_at"] = iso_time(p_.clock->now_ms());
  if (auto ok = sign(out); !ok) return ok;
  log_info("certificate of an erasure renewed", {{"erasure_id", p.id}});
  return p_.shared->records->finish(p, out);
}

}  // namespace soma::runtime::erasure
