// The journal as the caller's tenant may see it, and its verification.
#include <algorithm>
#include <atomic>
#include <boost/json/array.hpp>

#include "runtime/api/journal_views.h"
#include "runtime/api/pages.h"
#include "runtime/api/views.h"
#include "runtime/verify/report.h"
#include "schemas/base/sha256.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::FieldType;
using http::Responder;

namespace {

Journal::Wanted of_tenant(const std::string& tenant) {
  return [tenant](const events::ValidFrame& f) { return views::concerns(f, tenant); };
}

json::object page_of(const Node& node, const RequestPtr& r,
                     const std::vector<events::ValidFrame>& frames, const json::value& next) {
  json::array items;
  for (const auto& f : frames) items.push_back(views::frame(*node.catalog, f, &r->tenant()));
  return {{"items", std::move(items)}, {"next_cursor", next}};
}

// All frames, partition after partition; the cursor is a position.
void frames(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto limit = static_cast<std::size_t>(r->query_int("limit", kListDefault));
  if (r->query_bool("newest"))
    return node.slow->post([&node, r, responder, limit] {
      auto found = node.journal->newest(limit, of_tenant(r->tenant()));
      if (!found) return responder.fail(found.error());
      responder.send(http::json_response(200, page_of(node, r, *found, nullptr)));
    });
  std::optional<Position> from = Position{};
  if (const auto cursor = r->query_value("cursor")) from = parse_position(*cursor);
  if (!from)
    return responder.send(
        http::field_error({"query", "cursor"}, "must be PARTITION/OFFSET", "cursor"));
  node.slow->post([&node, r, responder, limit, at = *from]() mutable {
    std::vector<events::ValidFrame> out;
    while (at.partition.value < node.journal->partition_count() && out.size() < limit) {
      Offset next;
      auto page = node.journal->page(at.partition, at.offset, limit - out.size(),
                                     of_tenant(r->tenant()), next);
      if (!page) return responder.fail(page.error());
      for (auto& f : *page) out.push_back(std::move(f));
      const bool at_end = next == at.offset || next >= node.log->end(at.partition);
      at = at_end && out.size() < limit ? Position{at.partition.next(), Offset{}}
                                        : Position{at.partition, next};
    }
    json::value next;
    if (at.partition.value < node.journal->partition_count()) next = to_string(at);
    responder.send(http::json_response(200, page_of(node, r, out, next)));
  });
}

void frame(const Node& node, const RequestPtr& r, const Responder& responder) {
  const auto position = parse_position(r->param("partition") + "/" + r->param("offset"));
  if (!position)
    return responder.send(http::field_error({"path"}, "must be PARTITION/OFFSET", "position"));
  node.slow->post([&node, r, responder, position = *position] {
    auto f = node.journal->at(position);
    if (!f) return responder.fail(f.error());
    // A claim concerns nobody's data; a frame of others answers as a missing one.
    if (f->frame->entries_size() > 0 && !views::concerns(*f, r->tenant()))
      return responder.fail({Code::kNotFound, "no record stands at " + to_string(position), {}});
    responder.send(http::json_response(200, views::frame(*node.catalog, *f, &r->tenant())));
  });
}

// Names of actors and commands stand in what most checks say; those of links between partitions may
// name the other end.
bool names_only(const Node& node, const checks::Finding& f, const std::string& tenant) {
  if (f.invariant == "I1" || f.invariant == "I13") return true;  // numbers and hashes
  if (f.invariant == "I4" || f.invariant == "I7") return false;
  const auto frame = events::read_frame_at(*node.log, f.at);
  if (!frame || frame->frame->entries_size() == 0) return false;
  return std::all_of(frame->frame->entries().begin(), frame->frame->entries().end(),
                     [&](const auto& e) { return e.actor().tenant() == tenant; });
}

json::object report_for(const Node& node, VerifyReport report, const std::string& tenant) {
  for (auto& f : report.findings)
    if (!names_only(node, f, tenant))
      f.what = "a check of " + f.invariant +
               " failed on what is not, or not only, of the caller's tenant; `soma verify` on the "
               "node's folder tells it";
  return to_json(report);
}

// Progress while it reads, then the report. One at a time: it reads the whole log.
void verify(const Node& node, const RequestPtr& r, const Responder& responder) {
  static std::atomic<bool> running{false};
  if (running.exchange(true))
    return responder.send(http::problem_retry(
        {Code::kOverloaded, "another verification is running on this node", {}}, 5));
  auto out = responder.stream();
  if (!out) {
    running = false;
    return;
  }
  const bool deep = r->query_bool("deep");
  node.slow->post([&node, r, out, deep] {
    VerifyOptions o;
    o.decide_again = deep;
    o.single_writer = node.single_writer;
    o.on_progress = [&](std::uint64_t done, std::uint64_t total) {
      out->event({}, "progress", json_text(json::object{{"done", done}, {"total", total}}));
      return out->open();
    };
    auto report = verify_journal(*node.log, *node.catalog, o);
    out->event({}, "report", json_text(report_for(node, std::move(report), r->tenant())));
    out->close();
    running = false;
  });
}

}  // namespace

json::array journal_partitions(const std::vector<Journal::Summary>& summaries,
                               const std::vector<StandbyRow>* standbys) {
  const auto standbys_of = [&](PartitionId p) -> json::value {
    if (!standbys) return nullptr;
    json::array out;
    for (const auto& s : *standbys)
      if (s.partition == p) out.push_back({{"node", s.node}, {"lag", s.lag}});
    return out;
  };
  json::array items;
  for (const auto& s : summaries)
    items.push_back(
        {{"partition", s.partition.value},
         {"records", s.records},
         {"frames", s.frames},
         {"voided", s.voided},
         {"epoch", s.epoch.value},
         {"number", s.number.value},
         {"oldest", s.oldest_ms ? json::value(views::iso_time(s.oldest_ms)) : json::value(nullptr)},
         {"newest", s.newest_ms ? json::value(views::iso_time(s.newest_ms)) : json::value(nullptr)},
         {"owner", s.owner},
         {"owner_address", s.owner_address},
         {"since",
          s.owned_since_ms ? json::value(views::iso_time(s.owned_since_ms)) : json::value(nullptr)},
         {"lag", s.frames ? s.records - s.last.value - 1 : s.records},
         {"standbys", standbys_of(s.partition)},
         {"head", soma::hex(s.head)}});
  return items;
}

void register_journal(http::Router& router, const Node& node) {
  const http::Field limit{.name = "limit", .type = FieldType::kInt, .min = 1, .max = 200};
  router.add({.method = "GET",
              .pattern = "/v1/log/partitions",
              .capability = "log:read",
              .summary = "Records, epochs and chain heads of the journal's partitions",
              .tag = "log",
              .query = page_fields()},
             [&node](auto r, auto responder) {
               node.slow->post([&node, r, responder] {
                 auto all = node.journal->summary();
                 if (!all) return responder.fail(all.error());
                 std::vector<StandbyRow> standbys;
                 if (node.standbys) standbys = node.standbys();
                 responder.send(page_of(*r, journal_partitions(*all, &standbys), "partition"));
               });
             });
  router.add({.method = "GET",
              .pattern = "/v1/log/frames",
              .capability = "log:read",
              .summary = "Frames that concern the caller's tenant, decoded",
              .tag = "log",
              .query = {limit, {.name = "cursor"}, {.name = "newest", .type = FieldType::kBool}}},
             [&node](auto r, auto responder) { frames(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/log/frames/{partition}/{offset}",
              .capability = "log:read",
              .summary = "One frame, decoded",
              .tag = "log"},
             [&node](auto r, auto responder) { frame(node, r, responder); });
  router.add({.method = "GET",
              .pattern = "/v1/admin/verify",
              .capability = "admin:read",
              .summary = "Check the whole journal; events progress, then report",
              .tag = "operations",
              .query = {{.name = "deep", .type = FieldType::kBool}},
              .streaming = true},
             [&node](auto r, auto responder) { verify(node, r, responder); });
}

}  // namespace soma::runtime::api
