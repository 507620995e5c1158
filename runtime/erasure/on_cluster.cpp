// One node carries erasures out; the others drop their caches and say so.
#include <boost/json.hpp>
#include <chrono>

#include "runtime/erasure/erasures.h"
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
// Who serves no partition is waited for so long, from when keys were destroyed: it may be down.
constexpr auto kNodesWait = std::chrono::seconds(20);

constexpr char kViewsOpen[] =
    "not yet made anew: their database cannot be reached, or nobody feeds it";
constexpr char kViewsDone[] =
    "tables made anew from the log; WAL, replicas and backups of this server are its operator's "
    "to clear";

}  // namespace

void Erasures::carry_on() {
  name_thread("soma-carrier");
  auto next = std::chrono::steady_clock::now();
  while (!stopping()) {
    std::this_thread::sleep_for(kPoll);
    if (std::chrono::steady_clock::now() < next || !p_.shared->carries_out()) continue;
    next = std::chrono::steady_clock::now() + kAgain;
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
  if (pending.begun || !pending.two_keys) return run(pending);
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

// Whoever serves a partition could put into the log what it remembers: it is waited for.
Result<Erasures::Dropped> Erasures::drop_everywhere(Pending pending,
                                                    const std::vector<std::string>& keys) {
  const auto& shared = *p_.shared;
  pending.destroyed = true;
  pending.key_ids = keys;
  if (auto ok = shared.records->begin(pending); !ok) return tl::unexpected(ok.error());
  const auto until = std::chrono::steady_clock::now() + kNodesWait;
  const auto given_up = [&] { return stopping() || !shared.carries_out(); };
  if (auto ok = shared.keys->wait_forgotten(keys, given_up); !ok) return tl::unexpected(ok.error());
  while (!given_up()) {
    auto now = dropped_at_nodes(pending.id);
    if (!now || now->waits_for.empty()) return now;
    std::string owner;
    for (const auto& waited : now->waits_for)
      if (shared.owners().contains(std::string(waited.as_string()))) owner = waited.as_string();
    if (std::chrono::steady_clock::now() > until) {
      if (owner.empty()) return now;
      return fail(Code::kUnavailable,
                  "node " + owner + " serves partitions and has not dropped its caches yet");
    }
    std::this_thread::sleep_for(kPoll);
  }
  return fail(Code::kCancelled, "this node stops, or another carries erasures out now");
}

Result<Erasures::Dropped> Erasures::dropped_at_nodes(const std::string& id) const {
  const auto& shared = *p_.shared;
  auto folders = shared.records->folders();
  if (!folders) return tl::unexpected(folders.error());
  auto told = shared.records->dropped(id);
  if (!told) return tl::unexpected(told.error());
  std::map<std::string, TopicRecords::Folder> newest;  // of each node
  for (const auto& f : *folders)
    if (auto& known = newest[f.node_id]; f.since_ms >= known.since_ms) known = f;
  Dropped out;
  for (const auto& f : *folders) {
    const auto at = told->find(f.id);
    const bool done = at != told->end(), removed = shared.removed.contains(f.node_id);
    const std::string without = newest.at(f.node_id).id != f.id ? "replaced"
                                : removed                       ? "removed"
                                                                : "waits";
    out.nodes.push_back(
        json::object{{"node_id", f.node_id},
                     {"folder", f.id},
                     {"state", done ? "dropped" : without},
                     {"at", done ? json::value(iso_time(at->second)) : json::value(nullptr)}});
    if (!done && without == "waits") out.waits_for.emplace_back(f.node_id);
  }
  for (const auto& owner : shared.owners())
    if (!newest.contains(owner)) out.waits_for.emplace_back(owner);
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
  p.id = certificate.at("erasure_id").as_string();
  auto now = dropped_at_nodes(p.id);
  if (!now) return tl::unexpected(now.error());
  if (now->waits_for == waits->get_array()) return {};
  json::object out = certificate;
  out["complete"] = now->waits_for.empty() && certificate.at("clear_values").to_number<int>() == 0;
  out["stores"] = std::move(now->stores);
  out["nodes"] = std::move(now->nodes);
  out["waits_for"] = std::move(now->waits_for);
  out["renewed_at"] = iso_time(p_.clock->now_ms());
  if (auto ok = sign(out); !ok) return ok;
  log_info("certificate of an erasure renewed", {{"erasure_id", p.id}});
  return p_.shared->records->finish(p, out);
}

}  // namespace soma::runtime::erasure
