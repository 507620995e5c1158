// What the public topics carry, read over HTTP: the tenant's own events, straight from the journal.
#include <boost/json/array.hpp>
#include <charconv>
#include <ctime>

#include "events/frames.h"
#include "events/log.h"
#include "runtime/api/submit.h"
#include "runtime/api/views.h"
#include "runtime/integration/public_events.h"
#include "schemas/base/sha256.h"

namespace soma::runtime::api {

namespace json = boost::json;
using http::Responder;

namespace {

constexpr std::size_t kScanBytes = 8 << 20;  // of the journal, per request; the cursor goes on
constexpr std::size_t kBatchBytes = 1 << 20;

// Where a page goes on: partition, offset, the fence there, and how many of that record's events
// were shown. A made-up one can only hide or repeat the caller's own events.
struct Place {
  std::uint32_t partition = 0;
  std::uint64_t offset = 0, epoch = 0, number = 0, shown = 0;
  std::string head;  // hex

  std::string text() const {
    std::string out;
    for (std::uint64_t n : {std::uint64_t{partition}, offset, epoch, number, shown})
      out += std::to_string(n) + "-";
    return out + head;
  }
};

std::optional<Place> parse_place_of(const std::string& text) {
  Place p;
  const char* at = text.data();
  const char* end = at + text.size();
  const auto number = [&](auto& out) {
    const auto r = std::from_chars(at, end, out);
    if (r.ec != std::errc{} || r.ptr == end || *r.ptr != '-') return false;
    at = r.ptr + 1;
    return true;
  };
  if (!number(p.partition) || !number(p.offset) || !number(p.epoch) || !number(p.number) ||
      !number(p.shown))
    return {};
  p.head.assign(at, end);
  const bool is_hex = p.head.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hex || (p.head.size() != 64 && !p.head.empty())) return {};
  return p;
}

std::string bytes_of(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return out;
}

struct Wanted {
  std::string tenant, type, actor;
  std::int64_t since_ms = 0;
  std::optional<Position> after;
  std::size_t limit = 50;
};

// A time of RFC 3339 in UTC, or a position.
Status read_since(const Node& node, const std::string& text, Wanted& wanted) {
  if (const auto position = parse_position(text)) {
    Result<events::ValidFrame> frame = fail(Code::kNotFound, "no such partition");
    if (position->partition.value < node.partition_count)
      frame = events::read_frame_at(*node.log, *position);
    if (!frame)
      return fail(Code::kInvalidArgument, "since names a position that the journal does not hold",
                  "query.since");
    wanted.after = *position;
    wanted.since_ms = frame->frame->time_ms();
    return {};
  }
  std::tm tm{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &tm);
  int ms = 0;
  if (end && *end == '.') {
    int digits = 0;
    for (++end; *end >= '0' && *end <= '9'; ++end)
      if (digits++ < 3) ms = ms * 10 + (*end - '0');
    for (; digits < 3; ++digits) ms *= 10;
  }
  if (!end || std::string_view(end) != "Z")
    return fail(Code::kInvalidArgument,
                "since must be a position or a time like 2026-01-31T09:30:00Z", "query.since");
  wanted.since_ms = static_cast<std::int64_t>(::timegm(&tm)) * 1000 + ms;
  return {};
}

class Scan {
 public:
  Scan(const Node& node, Wanted wanted, Place place)
      : node_(node), wanted_(std::move(wanted)), place_(std::move(place)) {}

  Result<json::object> page() {
    for (; place_.partition < node_.partition_count;
         place_ = {place_.partition + 1, 0, 0, 0, 0, ""})
      if (auto more = partition(); !more)
        return tl::unexpected(more.error());
      else if (*more)
        return json::object{{"items", std::move(items_)}, {"next_cursor", place_.text()}};
    return json::object{{"items", std::move(items_)}, {"next_cursor", nullptr}};
  }

 private:
  // True: the page is full, and place_ says where the next one goes on.
  Result<bool> partition() {
    const PartitionId id{place_.partition};
    events::Fence fence =
        place_.head.empty()
            ? events::Fence()
            : events::Fence(Epoch{place_.epoch}, FrameNumber{place_.number}, bytes_of(place_.head));
    events::FrameReader reader(*node_.log, id, fence, Offset{place_.offset});
    for (;;) {
      const Offset from = reader.next_offset();
      auto frames = reader.next(kBatchBytes);
      if (!frames) return tl::unexpected(frames.error());
      if (reader.next_offset() == from) return false;
      for (const auto& frame : *frames) {
        if (show(frame)) return true;
        fence.admit(*frame.frame, frame.hash);
        scanned_ += frame.frame->ByteSizeLong();
        place_.offset = frame.position.offset.value + 1;
        place_.shown = 0;
        remember(fence);
      }
      place_.offset = reader.next_offset().value;
      remember(reader.fence());
      if (scanned_ >= kScanBytes) return true;
    }
  }

  void remember(const events::Fence& fence) {
    place_.epoch = fence.epoch().value;
    place_.number = fence.last_number().value;
    place_.head = hex(fence.head());
  }

  // True: full; place_ still stands before this frame, with what was shown of it.
  bool show(const events::ValidFrame& frame) {
    if (frame.frame->time_ms() < wanted_.since_ms) return false;
    if (wanted_.after && frame.position.partition == wanted_.after->partition &&
        frame.position.offset <= wanted_.after->offset)
      return false;
    std::uint64_t index = 0;
    bool full = false;
    integration::for_each_public(frame, [&](const integration::PublicEvent& e) {
      if (e.tenant != wanted_.tenant) return true;
      const ActorKey actor = actors::to_key(e.entry->actor());
      if (!wanted_.actor.empty() && to_string(actor) != wanted_.actor) return true;
      if (!wanted_.type.empty() && e.event->type() != wanted_.type) return true;
      if (index++ < place_.shown) return true;
      full = items_.size() >= wanted_.limit;
      if (full) return false;
      auto item =
          views::event(*node_.catalog, {actor, *e.event, e.entry->context(), frame.position});
      item["topic"] = e.row->topic;
      item["tenant_id"] = e.tenant;
      item["data"] = integration::public_data(*node_.catalog, e);
      items_.push_back(std::move(item));
      ++place_.shown;
      return true;
    });
    return full;
  }

  const Node& node_;
  const Wanted wanted_;
  Place place_;
  json::array items_;
  std::size_t scanned_ = 0;
};

void list(const Node& node, const RequestPtr& r, const Responder& responder) {
  Place place;
  if (const auto cursor = r->query_value("cursor"); cursor && !cursor->empty()) {
    const auto parsed = parse_place_of(*cursor);
    if (!parsed)
      return responder.send(http::field_error(
          {"query", "cursor"}, "must be a next_cursor that this list gave", "invalid"));
    place = *parsed;
  }
  after_position(node, r, responder, View::kJournal, [&node, r, responder, place] {
    Wanted wanted{r->tenant(),
                  r->query_value("type").value_or(""),
                  r->query_value("actor").value_or(""),
                  0,
                  {},
                  static_cast<std::size_t>(r->query_int("limit", 50))};
    if (const auto since = r->query_value("since"); since && !since->empty())
      if (auto ok = read_since(node, *since, wanted); !ok) return responder.fail(ok.error());
    auto page = Scan(node, std::move(wanted), place).page();
    if (!page) return responder.send(problem_of(page.error()));
    responder.send(http::json_response(200, *page));
  });
}

}  // namespace

void register_audit(http::Router& router, const Node& node) {
  router.add({.method = "GET",
              .pattern = "/v1/audit/events",
              .capability = "audit:read",
              .summary = "The tenant's events, by partition and position",
              .tag = "audit",
              .query = {{.name = "type", .max_length = 100},
                        {.name = "actor", .description = "TENANT/TYPE/ID", .max_length = 600},
                        {.name = "since", .description = "A time, or a position", .max_length = 64},
                        limit_field(),
                        {.name = "cursor", .max_length = 300}}},
             [&node](auto r, auto responder) { list(node, r, responder); });
}

}  // namespace soma::runtime::api
