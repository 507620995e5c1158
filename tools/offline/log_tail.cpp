// Pages from where each partition ended last time.
#include "tools/offline/log_tail.h"

#include <algorithm>
#include <boost/json.hpp>
#include <string_view>

#include "schemas/base/ids.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr std::uint64_t kPage = 200;

Result<json::array> items_of(Result<json::value> answer) {
  if (!answer) return tl::unexpected(answer.error());
  return std::move(answer->at("items").as_array());
}

// Frames of a partition from the record `next`, which moves on, up to `records`, at most `most`.
Status read_since(const Context& c, std::uint32_t partition, std::uint64_t records,
                  std::uint64_t& next, std::size_t most, json::array& out) {
  for (Position at{PartitionId{partition}, Offset{next}}; at.offset.value < records;) {
    if (most == 0) return {};
    // No more than there can be: a page goes on into the partitions behind.
    const auto page = std::min({kPage, records - next, static_cast<std::uint64_t>(most)});
    auto r = c.read("/v1/log/frames?limit=" + std::to_string(page) + "&cursor=" + to_string(at));
    if (!r) return tl::unexpected(r.error());
    for (auto& frame : r->at("items").as_array()) {
      const auto position = parse_position(text_of(frame, "position"));
      if (!position || position->partition != at.partition) break;
      next = position->offset.value + 1;
      out.push_back(std::move(frame));
      --most;
    }
    const auto cursor = parse_position(text_of(*r, "next_cursor"));
    if (!cursor || cursor->partition != at.partition || cursor->offset <= at.offset) break;
    at = *cursor;
    next = std::max(next, at.offset.value);
  }
  if (most > 0) next = std::max(next, records);
  return {};
}

void sort_by_time(json::array& frames) {
  std::stable_sort(frames.begin(), frames.end(), [](const json::value& a, const json::value& b) {
    return text_of(a, "time") < text_of(b, "time");
  });
}

}  // namespace

Result<json::array> LogTail::since(const Context& c, const Records& records, Records next) {
  // What follows tells all; a single look is limited as it was asked.
  std::size_t left = c.watch_s > 0 ? SIZE_MAX : static_cast<std::size_t>(c.limit);
  json::array out;
  for (auto& [id, from] : next) {
    const auto it = records.find(id);
    if (it == records.end())
      return soma::fail(Code::kInvalidArgument, "there is no partition " + std::to_string(id),
                        "--cursor");
    const std::size_t before = out.size();
    if (auto ok = read_since(c, id, it->second, from, left, out); !ok)
      return tl::unexpected(ok.error());
    left -= out.size() - before;
  }
  next_ = std::move(next);
  sort_by_time(out);
  return out;
}

Result<json::array> LogTail::newest(const Context& c, Records next) {
  auto out = items_of(
      c.read("/v1/log/frames?newest=true&limit=" + std::to_string(std::min(c.limit, kMostNewest))));
  if (!out) return out;
  for (const auto& frame : *out)  // some may have come since the partitions were asked for
    if (const auto p = parse_position(text_of(frame, "position"))) {
      auto& from = next[p->partition.value];
      from = std::max(from, p->offset.value + 1);
    }
  next_ = std::move(next);
  sort_by_time(*out);
  return out;
}

Result<json::array> LogTail::next(const Context& c) {
  auto partitions = c.read_all("/v1/log/partitions");
  if (!partitions) return partitions;
  Records records;
  for (const auto& p : *partitions)
    records[p.at("partition").to_number<std::uint32_t>()] =
        p.at("records").to_number<std::uint64_t>();
  const bool first = next_.empty();
  if (first && c.cursor.empty()) return newest(c, records);
  if (!first && (c.watch_s <= 0 || c.table())) return newest(c, records);
  if (!first) {
    auto next = next_;  // kept when nothing failed: what was read and not told is read again
    for (auto& [id, from] : next)  // those alone that the cursor named
      if (const auto it = records.find(id); it != records.end())
        from = std::min(from, it->second);  // the journal was made anew
    return since(c, records, std::move(next));
  }
  Records from;
  for (std::string_view left = c.cursor; !left.empty();) {
    const auto end = std::min(left.find(','), left.size());
    const auto position = parse_position(std::string(left.substr(0, end)));
    if (!position)
      return soma::fail(Code::kInvalidArgument,
                        "a cursor is PARTITION/OFFSET of each partition, by commas, as 0/12,1/4",
                        "--cursor");
    from[position->partition.value] = position->offset.value;
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  return since(c, records, std::move(from));
}

std::string LogTail::cursor() const {
  std::string out;
  for (const auto& [id, offset] : next_)
    out += (out.empty() ? "" : ",") + to_string(Position{PartitionId{id}, Offset{offset}});
  return out;
}

}  // namespace soma::cli
