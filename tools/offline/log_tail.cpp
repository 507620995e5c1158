// Pages from where each partition ended last time.
#include "tools/offline/log_tail.h"

#include <algorithm>
#include <boost/json.hpp>

#include "schemas/base/ids.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr std::uint64_t kPage = 200;

Result<json::array> items_of(Result<json::value> answer) {
  if (!answer) return tl::unexpected(answer.error());
  return std::move(answer->at("items").as_array());
}

// Frames of a partition from the record `next`, which moves on, up to `records` or beyond.
Status read_since(const Context& c, std::uint32_t partition, std::uint64_t records,
                  std::uint64_t& next, json::array& out) {
  // No more than there can be: a page goes on into the partitions behind.
  const std::string page =
      "/v1/log/frames?limit=" + std::to_string(std::min(kPage, records - next));
  for (Position at{PartitionId{partition}, Offset{next}}; at.offset.value < records;) {
    auto r = c.read(page + "&cursor=" + to_string(at));
    if (!r) return tl::unexpected(r.error());
    for (auto& frame : r->at("items").as_array()) {
      const auto position = parse_position(text_of(frame, "position"));
      if (!position || position->partition != at.partition) break;
      next = position->offset.value + 1;
      out.push_back(std::move(frame));
    }
    const auto cursor = parse_position(text_of(*r, "next_cursor"));
    if (!cursor || cursor->partition != at.partition || cursor->offset <= at.offset) break;
    at = *cursor;
  }
  next = std::max(next, records);
  return {};
}

}  // namespace

Result<json::array> LogTail::next(const Context& c) {
  const bool follows = c.watch_s > 0 && !c.table();
  const bool first = next_.empty();
  auto next = next_;  // kept when nothing failed: what was read and not told is read again
  json::array out;
  if (follows) {
    auto partitions = items_of(c.read("/v1/log/partitions"));
    if (!partitions) return partitions;
    for (const auto& p : *partitions) {
      const auto id = p.at("partition").to_number<std::uint32_t>();
      const auto records = p.at("records").to_number<std::uint64_t>();
      if (first || records < next[id])
        next[id] = records;
      else if (auto ok = read_since(c, id, records, next[id], out); !ok)
        return tl::unexpected(ok.error());
    }
  }
  if (first) {
    auto newest = items_of(
        c.read("/v1/log/frames?newest=true&limit=" + std::to_string(std::min(c.limit, 200))));
    if (!newest) return newest;
    out = std::move(*newest);
  }
  next_ = std::move(next);
  std::stable_sort(out.begin(), out.end(), [](const json::value& a, const json::value& b) {
    return text_of(a, "time") < text_of(b, "time");
  });
  return out;
}

}  // namespace soma::cli
