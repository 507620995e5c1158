// Read, send, remember: what is acknowledged moves a partition's mark, in the order of its journal.
#include "runtime/integration/publisher.h"

#include <algorithm>
#include <sstream>

#include "runtime/integration/command_record.h"
#include "runtime/integration/public_events.h"
#include "runtime/telemetry/log.h"
#include "schemas/base/sha256.h"
#include "schemas/base/thread_name.h"

namespace soma::runtime::integration {

namespace {

constexpr auto kLook = std::chrono::milliseconds(200);   // for partitions that came or went
constexpr auto kPause = std::chrono::milliseconds(500);  // after a failure
constexpr auto kStoreEvery = std::chrono::milliseconds(500);
// Brokers forget places that nobody stores anew for days, also of a partition in which nothing
// happens.
constexpr auto kStoreAnew = std::chrono::hours(1);
constexpr std::size_t kBatchBytes = 1 << 20;  // of the journal
// An append is acknowledged a moment before its frame is found valid.
constexpr auto kAwaitFeed = std::chrono::milliseconds(50);

std::size_t bytes_of(const events::TopicRecord& r) {
  std::size_t out = r.key.size() + r.value.size();
  for (const auto& [name, value] : r.headers) out += name.size() + value.size();
  return out;
}

std::optional<std::string> from_hex(const std::string& text) {
  if (text.size() % 2 || text.find_first_not_of("0123456789abcdef") != text.npos) return {};
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return out;
}

}  // namespace

std::string note_of(const events::Bookmark& mark) {
  std::ostringstream out;
  out << "v1 " << mark.fence.epoch().value << ' ' << mark.fence.last_number().value << ' '
      << hex(mark.fence.head()) << ' ' << mark.last.value << ' ' << hex(mark.last_hash);
  return out.str();
}

std::optional<events::Bookmark> mark_of(const events::TopicCursors::Cursor& cursor) {
  std::istringstream in(cursor.note);
  std::string version, head, last_hash;
  std::uint64_t epoch = 0, number = 0, last = 0;
  if (!(in >> version >> epoch >> number >> head >> last >> last_hash) || version != "v1")
    return {};
  const auto head_bytes = from_hex(head), hash_bytes = from_hex(last_hash);
  if (!head_bytes || head_bytes->size() != 32 || !hash_bytes || hash_bytes->size() != 32) return {};
  return events::Bookmark{cursor.next,
                          events::Fence(Epoch{epoch}, FrameNumber{number}, *head_bytes),
                          Offset{last}, *hash_bytes};
}

Publisher::Publisher(PublisherParts parts) : parts_(std::move(parts)) {
  if (parts_.watch)
    watching_ = parts_.watch([signal = signal_](const events::ValidFrame& frame) {
      signal->feed.put(frame);
      signal->raise(signal->grown);
    });
  else
    subscription_ = const_cast<events::Log*>(parts_.log)->follow([signal = signal_](PartitionId) {
      signal->raise(signal->grown);
    });
  parts_.sender->wake_with([signal = signal_] { signal->raise(signal->told); });
  thread_ = std::thread([this] {
    name_thread("soma-publisher");
    run();
  });
}

Publisher::~Publisher() {
  if (subscription_ != 0) const_cast<events::Log*>(parts_.log)->unfollow(subscription_);
  watching_.reset();
  signal_->raise(signal_->stopping);
  thread_.join();
  parts_.sender.reset();  // it wakes
}

// From any thread, under locks of others.
void Publisher::Signal::raise(bool& what) {
  {
    std::lock_guard lock(mutex);
    if (std::exchange(what, true)) return;
  }
  changed.notify_one();
}

std::string Publisher::problem() const {
  std::lock_guard lock(signal_->mutex);
  return problem_;
}

Result<Publisher::Line> Publisher::load(PartitionId partition) {
  Line line;
  auto cursor = parts_.cursors->load(parts_.journal_topic, partition);
  if (!cursor) return tl::unexpected(cursor.error());
  if (*cursor) {
    const auto mark = mark_of(**cursor);
    const auto good = mark ? events::holds(*parts_.log, partition, *mark) : Result<bool>(false);
    if (!good) return tl::unexpected(good.error());
    if (*good)
      line.mark = *mark;
    else
      log_warn("the publisher's place is of another journal; it begins anew, with the same ids",
               {{"partition", partition.value}});
  }
  line.lag = parts_.metrics->gauge("soma_public_lag_records",
                                   "Journal records not yet looked at for public events",
                                   {{"partition", std::to_string(partition.value)}});
  return line;
}

Status Publisher::look_at_served() {
  const auto served = parts_.served();
  std::map<std::uint32_t, Line> kept;
  for (const auto partition : served) {
    if (auto it = lines_.find(partition.value); it != lines_.end()) {
      kept[partition.value] = std::move(it->second);
      continue;
    }
    auto line = load(partition);
    if (line) kept[partition.value] = std::move(*line);
    if (!line) {
      kept.merge(lines_);
      lines_ = std::move(kept);
      return tl::unexpected(line.error());
    }
  }
  for (auto& [partition, line] : lines_)
    if (!kept.contains(partition)) line.lag.set(0);
  lines_ = std::move(kept);  // another node goes on from what was stored
  signal_->feed.keep(served);
  return {};
}

bool Publisher::flying() const {
  return std::any_of(lines_.begin(), lines_.end(),
                     [](const auto& line) { return !line.second.flying.empty(); });
}

bool Publisher::may_send(const Line& line) const {
  std::size_t bytes = 0;
  for (const auto& [number, l] : lines_)
    for (const auto& batch : l.flying) bytes += batch->bytes;
  return line.flying.size() < kFlyingBatches && bytes < kFlyingBytes;
}

Result<bool> Publisher::step(PartitionId partition, Line& line) {
  const Offset end = parts_.log->end(partition);
  line.lag.set(end > line.mark.next ? static_cast<double>(end.value - line.mark.next.value) : 0);
  if (end <= line.read().next || !may_send(line)) return false;
  events::Bookmark at = line.read();
  auto [frames, must_read] = signal_->feed.take(partition, at, kBatchBytes);
  line.fed |= !frames.empty();
  if (frames.empty()) {
    if (!must_read && comes_by_feed(line)) return false;
    events::FrameReader reader(*parts_.log, partition, at);
    auto read = reader.next(kBatchBytes);
    if (!read) return tl::unexpected(read.error());
    frames = std::move(*read);
    at = reader.bookmark();
  }
  line.due = {};
  std::vector<events::TopicRecord> records;
  for (const auto& frame : frames)
    for_each_public(frame, [&](const PublicEvent& e) {
      records.push_back(event_record(*parts_.catalog, e, parts_.topic_prefix));
      return true;
    });
  const bool moved = at.next != line.read().next;
  if (moved) send(line, records, std::move(at));
  return moved;
}

// Whether to wait for what the log has and the feed has not. Not for long: the feed may have had to
// let it go.
bool Publisher::comes_by_feed(Line& line) {
  if (!line.fed) return false;
  const auto now = std::chrono::steady_clock::now();
  if (line.due == std::chrono::steady_clock::time_point{}) line.due = now + kAwaitFeed;
  line.fed = now < line.due;
  awaits_feed_ |= line.fed;
  return line.fed;
}

void Publisher::send(Line& line, const std::vector<events::TopicRecord>& records,
                     events::Bookmark behind) {
  if (records.empty()) {  // what comes next to be acknowledged covers it
    (line.flying.empty() ? line.mark : line.flying.back()->behind) = std::move(behind);
    line.dirty |= line.flying.empty();
    return;
  }
  auto batch = std::make_shared<Batch>();
  batch->behind = std::move(behind);
  for (const auto& record : records) {
    batch->bytes += bytes_of(record);
    ++batch->counts[record.topic];
  }
  line.flying.push_back(batch);
  parts_.sender->send_soon(records, [this, batch](const Status& told) {
    if (!told)
      failed_ = told.error();
    else
      batch->sent = true;
  });
}

// Moves the marks behind what was acknowledged without a gap. After a failure the rest goes again.
Result<bool> Publisher::settle() {
  parts_.sender->poll(0);
  bool acknowledged = false;
  for (auto& [number, line] : lines_)
    for (; !line.flying.empty() && line.flying.front()->sent; line.flying.pop_front()) {
      const Batch& batch = *line.flying.front();
      line.mark = batch.behind;
      line.dirty = acknowledged = true;
      for (const auto& [topic, count] : batch.counts) {
        auto [it, fresh] = published_.try_emplace(topic);
        if (fresh)
          it->second = parts_.metrics->counter("soma_public_events_total",
                                               "Events put on public topics", {{"topic", topic}});
        it->second.add(static_cast<double>(count));
      }
    }
  if (!failed_) return acknowledged;
  for (auto& [number, line] : lines_) {
    line.flying.clear();
    line.fed = false;
  }
  return tl::unexpected(*std::exchange(failed_, std::nullopt));
}

Status Publisher::store_all() {
  std::map<PartitionId, events::TopicCursors::Cursor> places;
  for (const auto& [number, line] : lines_)
    if (line.dirty && !line.mark.last_hash.empty())
      places[PartitionId{number}] = {line.mark.next, note_of(line.mark)};
  if (places.empty()) return {};
  auto ok = parts_.cursors->store(parts_.journal_topic, places);
  for (auto& [number, line] : lines_) line.dirty &= !ok;
  return ok;
}

void Publisher::run() {
  using Clock = std::chrono::steady_clock;
  auto looked = Clock::time_point{}, stored = Clock::now(), stored_all = stored;
  for (;;) {
    const auto settled = settle();
    Status ok = settled ? Status{} : tl::unexpected(settled.error());
    bool moved = false;
    if (ok && Clock::now() - looked >= kLook) {
      ok = look_at_served();
      looked = Clock::now();
    }
    for (auto& [number, line] : lines_) {
      if (!ok || failed_) break;  // what is sent now would come before what failed
      auto stepped = step(PartitionId{number}, line);
      if (!stepped)
        ok = tl::unexpected(stepped.error());
      else
        moved |= *stepped;
    }
    if (Clock::now() - stored_all >= kStoreAnew) {
      for (auto& [number, line] : lines_) line.dirty = true;
      stored_all = Clock::now();
    }
    if (ok && Clock::now() - stored >= kStoreEvery) {
      ok = store_all();
      stored = Clock::now();
    }
    auto& s = *signal_;
    std::unique_lock lock(s.mutex);
    if (!ok && problem_ != ok.error().message)
      log_warn("public events wait", {{"reason", ok.error().message}});
    if (!ok)
      problem_ = ok.error().message;
    else if (*settled || !flying())
      problem_.clear();
    const bool soon = std::exchange(awaits_feed_, false);
    if (!s.stopping && (!ok || !moved))
      s.changed.wait_for(lock,
                         !ok    ? kPause
                         : soon ? kAwaitFeed
                                : kLook,
                         [&] { return s.stopping || (ok && (s.grown || s.told)); });
    if (s.stopping) break;
    s.grown = s.told = false;
  }
  // Where brokers are away the end is not made to wait for them again.
  if (auto ok = problem().empty() ? store_all() : Status{}; !ok)
    log_info("the publisher's place is not stored; some records come again",
             {{"reason", ok.error().message}});
}

}  // namespace soma::runtime::integration
