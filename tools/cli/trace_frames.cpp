// Pages of the frames' route; a place in time by halving.
#include "tools/cli/trace_frames.h"

#include <boost/json.hpp>
#include <deque>
#include <map>

#include "schemas/base/ids.h"

namespace soma::cli {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostFrames = 20'000;      // of the session's partition
constexpr std::size_t kMostOtherFrames = 4'000;  // of each other one

std::string time_of(const json::value& frame) { return text_of(frame, "time"); }

std::string partition_of(const json::value& frame) {
  const std::string position = text_of(frame, "position");
  return position.substr(0, position.find('/'));
}

std::optional<std::uint64_t> offset_in(const json::value& frame, const std::string& partition) {
  const auto at = parse_position(text_of(frame, "position"));
  if (!at || std::to_string(at->partition.value) != partition) return {};
  return at->offset.value;
}

Result<json::value> page_at(const Context& c, const std::string& cursor, int limit) {
  return c.read("/v1/log/frames?limit=" + std::to_string(limit) + "&cursor=" + url_encoded(cursor));
}

// The first offset from which on frames are of `time` or later. UTC texts compare as times do.
Result<std::uint64_t> offset_at(const Context& c, const std::string& partition,
                                std::uint64_t records, const std::string& time) {
  std::uint64_t low = 0, high = records;
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    auto page = page_at(c, partition + "/" + std::to_string(middle), 1);
    if (!page) return tl::unexpected(page.error());
    const auto& items = page->at("items").as_array();
    const auto at = items.empty() ? std::nullopt : offset_in(items[0], partition);
    if (!at || time_of(items[0]) >= time)
      high = middle;
    else
      low = *at + 1;
  }
  return low;
}

// The frame with the wanted entries alone; they are wanted no more.
json::value only_wanted(json::value frame, std::set<std::string>& wanted) {
  json::array kept;
  for (auto& entry : frame.at("entries").as_array())
    if (wanted.erase(text_of(entry, "command_id")) > 0) kept.push_back(std::move(entry));
  frame.at("entries") = std::move(kept);
  return frame;
}

Status add_partition(const Context& c, const std::string& partition, std::uint64_t records,
                     const std::string& began, std::set<std::string>& wanted, TraceFrames& out) {
  auto from = offset_at(c, partition, records, began);
  if (!from) return tl::unexpected(from.error());
  std::string cursor = partition + "/" + std::to_string(*from);
  for (std::size_t read = 0; !cursor.empty() && !wanted.empty() && read < kMostOtherFrames;) {
    auto page = page_at(c, cursor, 200);
    if (!page) return tl::unexpected(page.error());
    for (auto& frame : page->at("items").as_array()) {
      if (!offset_in(frame, partition)) {
        read = kMostOtherFrames;
        break;
      }
      ++read;
      auto kept = only_wanted(std::move(frame), wanted);
      if (!kept.at("entries").as_array().empty()) out.frames.push_back(std::move(kept));
    }
    cursor = text_of(*page, "next_cursor");
  }
  return {};
}

}  // namespace

Result<TraceFrames> own_frames(const Context& c, const std::string& from, std::uint64_t last) {
  TraceFrames out;
  std::string cursor = from;
  const auto partition = from.substr(0, from.find('/'));
  while (!cursor.empty() && out.frames.size() < kMostFrames) {
    auto page = page_at(c, cursor, 200);
    if (!page) return tl::unexpected(page.error());
    for (auto& frame : page->at("items").as_array()) {
      const auto at = offset_in(frame, partition);
      if (!at || *at > last + 200) return out;
      out.frames.push_back(std::move(frame));
    }
    cursor = text_of(*page, "next_cursor");
  }
  out.partial = !cursor.empty();
  return out;
}

Status add_other_partitions(const Context& c, std::set<std::string> wanted, TraceFrames& out) {
  if (wanted.empty() || out.frames.empty()) return {};
  auto all = c.read_all("/v1/log/partitions");
  if (!all) return tl::unexpected(all.error());
  const std::string own = partition_of(out.frames.front());
  const std::string began = time_of(out.frames.front());
  for (const auto& p : *all) {
    const std::string partition = json::serialize(p.at("partition"));
    if (partition == own || wanted.empty()) continue;
    auto ok =
        add_partition(c, partition, p.at("records").to_number<std::uint64_t>(), began, wanted, out);
    if (!ok) return ok;
  }
  out.frames = causes_first(std::move(out.frames));
  return {};
}

json::array causes_first(json::array frames) {
  std::map<std::string, std::deque<json::value>> queues;  // by partition, each in its order
  std::map<std::string, std::string> home;                // of commands that are still to come
  for (auto& frame : frames) {
    const std::string partition = partition_of(frame);
    for (const auto& entry : frame.at("entries").as_array())
      home[text_of(entry, "command_id")] = partition;
    queues[partition].push_back(std::move(frame));
  }
  // What sent an entry has its id up to the last '>'.
  const auto waits = [&](const std::string& partition, const json::value& frame) {
    for (const auto& entry : frame.at("entries").as_array()) {
      const std::string id = text_of(entry, "command_id");
      const auto sender = home.find(id.substr(0, id.rfind('>')));
      if (id.find('>') != id.npos && sender != home.end() && sender->second != partition)
        return true;
    }
    return false;
  };
  json::array out;
  while (!queues.empty()) {
    auto best = queues.end();
    bool best_waits = false;
    for (auto it = queues.begin(); it != queues.end(); ++it) {
      const bool late = waits(it->first, it->second.front());
      if (best == queues.end() || std::pair(late, time_of(it->second.front())) <
                                      std::pair(best_waits, time_of(best->second.front())))
        best = it, best_waits = late;
    }
    for (const auto& entry : best->second.front().at("entries").as_array())
      home.erase(text_of(entry, "command_id"));
    out.push_back(std::move(best->second.front()));
    best->second.pop_front();
    if (best->second.empty()) queues.erase(best);
  }
  return out;
}

}  // namespace soma::cli
