// Reads the journal once.
#include "runtime/audit/proofs.h"

#include <boost/json.hpp>

#include "runtime/security/base64url.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_read.h"

namespace soma::runtime::audit {

namespace json = boost::json;

Result<Head> read_records(const events::Log& log, const std::string& tenant, std::int64_t now_ms,
                          const std::function<Status(const Record&, soma::audit::Hash leaf)>& visit,
                          const Stop& stop) {
  Head out;
  out.tenant = tenant;
  out.time_ms = now_ms;
  Status ok;
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    events::FrameReader reader(log, PartitionId{p});
    reader.as_stored();
    std::uint64_t index = 0;
    for (const Offset end = log.end(PartitionId{p}); reader.next_offset() < end;) {
      if (stop && stop()) return stopped();
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty()) break;
      for (const auto& frame : *frames)
        each_record(frame, tenant, index, [&](const Record& r) {
          if (ok) ok = visit(r, soma::audit::leaf_hash(r.hashed()));
        });
      if (!ok) return tl::unexpected(ok.error());
    }
    out.partitions.push_back({PartitionId{p},
                              index,
                              {},
                              reader.next_offset(),
                              reader.fence().epoch(),
                              reader.fence().last_number(),
                              reader.fence().head()});
  }
  if (out.records() == 0)
    return fail(Code::kNotFound, "the journal has no records of tenant " + tenant);
  return out;
}

Result<Trees> read_trees(const events::Log& log, const std::string& tenant, std::int64_t now_ms,
                         const std::function<void(const Record&)>& visit, const Stop& stop) {
  Trees out;
  out.trees.resize(log.partition_count());
  std::uint64_t total = 0;
  const auto keep = [&](const Record& r, soma::audit::Hash leaf) -> Status {
    if (++total > kMostRecords)
      return fail(Code::kTooLarge,
                  "more than " + std::to_string(kMostRecords) + " records of tenant " + tenant);
    out.trees[r.position.partition.value].add(std::move(leaf));
    if (visit) visit(r);
    return {};
  };
  auto head = read_records(log, tenant, now_ms, keep, stop);
  if (!head) return tl::unexpected(head.error());
  out.head = std::move(*head);
  for (auto& p : out.head.partitions) p.root = out.trees[p.partition.value].root();
  return out;
}

Result<json::object> prove_event(const events::Log& log, const security::Key& key,
                                 const std::string& tenant, const std::string& event_id,
                                 std::int64_t now_ms, const Stop& stop) {
  std::optional<Record> found;
  const auto look = [&](const Record& r) {
    // Most records do not even hold the text.
    if (found || r.bytes.find(event_id) == std::string::npos) return;
    v1::Entry entry;
    if (!entry.ParseFromString(r.bytes)) return;
    for (const auto& e : entry.events())
      if (e.event_id() == event_id) found = r;
  };
  auto all = read_trees(log, tenant, now_ms, look, stop);
  if (!all && all.error().code != Code::kNotFound) return tl::unexpected(all.error());
  if (!found || event_id.empty()) return fail(Code::kNotFound, "Event not found");
  auto head = sign_head(key, all->head);
  auto jwk = security::public_jwk(key);
  if (!head) return tl::unexpected(head.error());
  if (!jwk) return tl::unexpected(jwk.error());
  json::array path;
  for (const auto& h : all->trees[found->position.partition.value].path(found->index))
    path.emplace_back(hex(h));
  return json::object{{"soma_audit_proof", 1},
                      {"tenant", tenant},
                      {"event_id", event_id},
                      {"position", to_string(found->position)},
                      {"at", found->at},
                      {"entry", security::base64url_encode(found->bytes)},
                      {"path", std::move(path)},
                      {"head", *head},
                      {"key", read_json(*jwk).value()}};
}

}  // namespace soma::runtime::audit
