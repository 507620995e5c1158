// Takes commands of integrators from topics and brings each through its route, once.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "events/kafka/topic_clients.h"
#include "runtime/integration/command_record.h"
#include "runtime/integration/dead_letter.h"
#include "runtime/telemetry/metrics.h"

namespace soma::runtime::integration {

using OnAnswer = std::function<void(http::Response)>;

struct InboxParts {
  // Makes the receiver; the inbox is told within its poll() what it loses.
  std::function<Result<std::unique_ptr<events::TopicReceiver>>(
      std::function<void(const std::vector<events::TopicPart>&)> on_revoked)>
      receiver;
  std::unique_ptr<events::TopicSender> sender;  // of dead letters
  // Applies a command and answers once, from any thread: 2xx is durable.
  std::function<void(const Command&, OnAnswer)> apply;
  std::function<bool()> ready;  // false: the node itself is in trouble, so a failure says nothing
  std::string topic_prefix;
  bool trusted_producers = false;               // records without a token are taken
  Metrics* metrics = nullptr;                   // outlives the inbox
  std::chrono::milliseconds first_pause{1000};  // before a second attempt; doubles to a minute
};

// Owns one thread. A record's offset is committed only when it and all before it in its partition
// are applied or among the dead letters; after a crash records come again, and their ce_id sees to
// it that nothing happens twice. Records of one partition and key are applied in order, others side
// by side. What is refused, or fails kMaxAttempts times while the node is well, becomes a dead
// letter; failures of the node itself are waited out.
class Inbox {
 public:
  static constexpr int kMaxAttempts = 8;
  static constexpr std::size_t kWindow = 256;           // records of one partition under way
  static constexpr std::size_t kWindowBytes = 8 << 20;  // or one record; keys and headers count too
  // Of all partitions; beyond it, each may have one record.
  static constexpr std::size_t kAllBytes = 64 << 20;
  static constexpr std::uint64_t kAhead = 1024;  // how far they may be from the oldest of them

  explicit Inbox(InboxParts parts);
  ~Inbox();  // waits a moment for what runs
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  using Place = events::TopicPart;
  struct Line;
  struct Item {
    events::TopicRecord record;  // when done, its offset alone
    std::optional<Command> command;
    bool done = false;  // applied, or among the dead letters
    int attempts = 0;
    Refusal refusal;
    Line* line = nullptr;  // null: it was lost meanwhile
  };
  using ItemPtr = std::shared_ptr<Item>;
  struct Answers;  // from other threads
  struct Line {    // of one partition
    const Place place;
    std::deque<ItemPtr> items;  // by offset, from the oldest that is not done on
    std::size_t open = 0;       // of them not done
    std::size_t bytes = 0;      // of those
    Offset taken{};             // the next after those
    Offset committed{};
    bool held = false;
    std::unordered_map<std::string, std::deque<ItemPtr>> keys;  // to be applied, in order

    Offset done() const { return items.empty() ? taken : items.front()->record.offset; }
    bool full(std::size_t all_bytes) const {
      return open >= kWindow || bytes >= kWindowBytes || taken.value - done().value >= kAhead ||
             (all_bytes >= kAllBytes && open > 0);
    }
  };

  void run();
  Status serve_as_member(const Gauge& up);
  Status serve(const Gauge& up);  // until it is stopped, or is no member of the group any more
  void receive(std::chrono::milliseconds wait, bool stopping);
  void take(events::TopicRecord record);
  void begin(const ItemPtr& item);
  void answered();
  void end(const ItemPtr& item, const http::Response& response);
  void refuse(const ItemPtr& item, std::string type, std::string message);
  void leave_key(const ItemPtr& item);
  void done(const ItemPtr& item);
  void start_what_may();
  void bury();
  void buried(const Status& sent);
  void weigh(Line& line, std::size_t more, std::size_t less);
  void hold(Line& line);
  std::vector<events::TopicPlace> to_commit() const;
  void told(const std::vector<events::TopicPlace>& places, const Status& committed);
  void commit_soon();
  void revoked(const std::vector<Place>& places);
  std::map<Place, Line>::iterator forget(std::map<Place, Line>::iterator line);  // the next one
  std::chrono::milliseconds until_due() const;
  std::string dead_letters_of(const std::string& topic) const;
  void count(const Item& item, const char* outcome);
  bool anything_to_commit() const;

  InboxParts parts_;
  std::shared_ptr<Answers> answers_;
  std::map<Place, Line> lines_;
  std::size_t bytes_ = 0;                            // of all lines
  std::vector<ItemPtr> may_start_;                   // the first of their keys
  std::multimap<Clock::time_point, ItemPtr> later_;  // so are these, but not before
  std::size_t running_ = 0;
  std::vector<ItemPtr> refused_;  // whose dead letters are not yet sent
  std::vector<ItemPtr> burying_;  // whose dead letters are in flight
  std::map<std::pair<std::string, std::string>, Counter> counters_;  // by topic and outcome
  std::unique_ptr<events::TopicReceiver> receiver_;
  Clock::time_point dead_until_{};  // dead letters could not be written
  Clock::time_point commit_at_{};
  bool committing_ = false;
  std::string commit_problem_;
  std::thread thread_;
};

}  // namespace soma::runtime::integration
