// Puts the public events of the partitions that this node serves on their topics.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "actors/actor_type.h"
#include "events/frames.h"
#include "events/kafka/topic_clients.h"
#include "runtime/integration/frame_feed.h"
#include "runtime/telemetry/metrics.h"

namespace soma::runtime::integration {

struct PublisherParts {
  const events::Log* log = nullptr;  // outlives the publisher, as do catalog and metrics
  const actors::Catalog* catalog = nullptr;
  Metrics* metrics = nullptr;
  std::string topic_prefix, journal_topic;
  std::function<std::vector<PartitionId>()> served;  // asked several times a second
  std::unique_ptr<events::TopicSender> sender;
  std::unique_ptr<events::TopicCursors> cursors;
  WatchFrames watch;  // none: every frame is read from the log
};

// Owns one thread. At least once: a record and all before it are acknowledged before the place
// behind it is stored, and whatever is published again has the same ce_id. Several batches are in
// flight; after a failure all partitions go on from what was acknowledged. Each partition has its
// own place, so partitions may move between nodes at any time; two nodes with the same partition
// for a moment repeat records.
class Publisher {
 public:
  static constexpr std::size_t kFlyingBatches = 16;       // of one partition
  static constexpr std::size_t kFlyingBytes = 16u << 20;  // of records, before more is read

  explicit Publisher(PublisherParts parts);
  ~Publisher();  // stores places; what is not published is published after the next start
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  std::string problem() const;  // why it does not go on; empty: it does

 private:
  struct Batch {
    events::Bookmark behind;  // as far as was read for it
    std::size_t bytes = 0;
    std::map<std::string, std::uint64_t> counts;  // records by topic
    bool sent = false;                            // acknowledged
  };
  struct Line {
    events::Bookmark mark;                        // acknowledged up to here
    std::deque<std::shared_ptr<Batch>> flying;    // oldest first
    bool dirty = false;                           // the mark is ahead of what is stored
    bool fed = false;                             // the last frames came by the feed
    std::chrono::steady_clock::time_point due{};  // when what the feed has not yet is read
    Gauge lag;

    const events::Bookmark& read() const { return flying.empty() ? mark : flying.back()->behind; }
  };

  void run();
  Status look_at_served();
  Result<Line> load(PartitionId partition);
  Result<bool> step(PartitionId partition, Line& line);  // whether there was anything
  bool comes_by_feed(Line& line);
  void send(Line& line, const std::vector<events::TopicRecord>& records, events::Bookmark behind);
  bool flying() const;
  bool may_send(const Line& line) const;
  Result<bool> settle();  // whether anything was acknowledged
  Status store_all();

  PublisherParts parts_;
  std::map<std::uint32_t, Line> lines_;
  std::map<std::string, Counter> published_;  // by topic
  std::uint64_t subscription_ = 0;
  struct Signal {  // outlives the publisher where a frame is on its way to it
    std::mutex mutex;
    std::condition_variable changed;
    bool grown = false, told = false, stopping = false;
    FrameFeed feed;
    void raise(bool& what);
  };
  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();
  std::shared_ptr<void> watching_;
  bool awaits_feed_ = false;     // since the last wait
  std::optional<Error> failed_;  // a batch, since the last settle()
  std::string problem_;
  std::thread thread_;
};

// A place as text beside its offset, and back; nothing for a text that is none.
std::string note_of(const events::Bookmark& mark);
std::optional<events::Bookmark> mark_of(const events::TopicCursors::Cursor& cursor);

}  // namespace soma::runtime::integration
