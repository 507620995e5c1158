// The consumer group. Nothing is consumed: the assignment is all that is wanted.
#include "events/kafka/membership.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "events/kafka/assignment.h"
#include "events/kafka/client.h"

namespace soma::events {

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollMs = 20;
constexpr auto kComeBackEvery = std::chrono::milliseconds(500);
constexpr std::chrono::milliseconds kRivalWithin{10'000};

struct ListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* l) const {
    rd_kafka_topic_partition_list_destroy(l);
  }
};
using List = std::unique_ptr<rd_kafka_topic_partition_list_t, ListDeleter>;

PartitionId partition_at(const rd_kafka_topic_partition_list_t* list, int i) {
  return PartitionId{static_cast<std::uint32_t>(list->elems[i].partition)};
}

class Group final : public Membership {
 public:
  Group(KafkaOptions kafka, MembershipOptions options, OnChange on_change)
      : kafka_(std::move(kafka)), options_(std::move(options)), on_change_(std::move(on_change)) {}

  ~Group() override {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    if (asked_back_) unassign();
    if (client_) rd_kafka_consumer_close(client_.get());
  }

  Status open() {
    if (auto ok = kafka::check_options(kafka_); !ok) return ok;
    if (auto ok = join(); !ok) return ok;
    thread_ = std::thread([this] { run(); });
    return {};
  }

  std::vector<PartitionId> given() const override {
    std::lock_guard lock(mutex_);
    return {given_.begin(), given_.end()};
  }
  void released(PartitionId partition) override {
    std::lock_guard lock(mutex_);
    in_use_.erase(partition);
  }
  void leave() override { leaving_ = true; }
  bool left() const override { return left_; }
  Status health() const override {
    std::lock_guard lock(mutex_);
    return health_;
  }

 private:
  Status join() {
    events_.on_rebalance = [this](rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
      rebalance(code, list);
    };
    const kafka::Properties properties = {
        {"group.id", group_},
        {"group.instance.id", options_.node_id},
        {"client.id", kafka::client_of_node(options_.node_id)},  // tells who it is
        {"partition.assignment.strategy", "cooperative-sticky"},
        {"session.timeout.ms", std::to_string(options_.session_timeout_ms)},
        {"heartbeat.interval.ms", std::to_string(options_.session_timeout_ms / 12)},
        {"auto.offset.reset", "latest"},
        {"enable.auto.commit", "false"}};
    auto client = kafka::make_client(RD_KAFKA_CONSUMER, kafka_, properties, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    rd_kafka_poll_set_consumer(client_.get());
    const std::string topic = kafka::journal_topic(kafka_);
    const List topics(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(topics.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
    if (const auto code = rd_kafka_subscribe(client_.get(), topics.get()); code != 0)
      return tl::unexpected(kafka::to_error(code, "cannot join the group of nodes on " + topic));
    return {};
  }

  void run() {
    bool unsubscribed = false;
    while (!stopping_) {
      if (!client_ || fatal()) {
        if (leaving_) left_ = true;
        come_back();
        continue;
      }
      if (auto* m = rd_kafka_consumer_poll(client_.get(), kPollMs)) {
        if (m->err) complaints_.hear(*m, kafka_.on_log);
        rd_kafka_message_destroy(m);
      }
      if (leaving_ && !unsubscribed) {
        // Not by closing alone: a static member that closes is waited for.
        unsubscribed = true;
        rd_kafka_unsubscribe(client_.get());
      }
      if (asked_back_ && all_released()) unassign();
      if (unsubscribed && !asked_back_ && given().empty()) left_ = true;
    }
  }

  bool fatal() const { return rd_kafka_fatal_error(client_.get(), nullptr, 0) != 0; }
  void tell(Status health) {
    std::lock_guard lock(mutex_);
    health_ = std::move(health);
  }

  // Replaced under its name, or librdkafka has given up. What is served goes on: where another node
  // is given it, its claim tells. A late request of this very process can have replaced it (lost
  // with the network and repeated, it arrived after all), so it takes its place back. A process
  // that lives does the same: who is replaced again soon has a rival, which came later.
  void come_back() {
    if (taken_ || Clock::now() < come_back_at_)
      return std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
    come_back_at_ = Clock::now() + kComeBackEvery;
    if (client_) {
      auto why = kafka::member_health(client_.get(), group_, options_.node_id);
      if (!why && why.error().code == Code::kLocked) {
        taken_ = replaced_at_ && Clock::now() < *replaced_at_ + rival_within();
        replaced_at_ = Clock::now();
        if (taken_) return tell(std::move(why));
      }
      if (kafka_.on_log && !why)
        kafka_.on_log(kafka::kWarning, "joins anew: " + why.error().message);
      forget_client();
    }
    tell(join());
  }
  // Each of two hears of the other at its next beat.
  std::chrono::milliseconds rival_within() const {
    return std::max(kRivalWithin, std::chrono::milliseconds(options_.session_timeout_ms / 2));
  }
  void forget_client() {
    asked_back_.reset();
    forgetting_ = true;
    rd_kafka_consumer_close(client_.get());
    client_.reset();
    forgetting_ = false;
    std::lock_guard lock(mutex_);
    given_.clear();
    in_use_.clear();
  }

  bool all_released() const {
    if (Clock::now() > release_until_) return true;
    std::lock_guard lock(mutex_);
    for (int i = 0; i < asked_back_->cnt; ++i)
      if (in_use_.contains(partition_at(asked_back_.get(), i))) return false;
    return true;
  }

  void unassign() {
    const List list = std::move(asked_back_);
    unassign(list.get());
  }
  void unassign(const rd_kafka_topic_partition_list_t* list) {
    if (auto* error = rd_kafka_incremental_unassign(client_.get(), list))
      rd_kafka_error_destroy(error);
  }

  // On the thread that polls. No I/O here: the node acts on its own threads. librdkafka goes on
  // with the rebalance when the partitions are unassigned, which waits for their release.
  void rebalance(rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
    const bool gives = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    complaints_.forget();
    if (forgetting_) return unassign(list);
    const bool lost = !gives && rd_kafka_assignment_lost(client_.get()) != 0;
    {
      std::lock_guard lock(mutex_);
      for (int i = 0; i < list->cnt; ++i) {
        const PartitionId p = partition_at(list, i);
        if (gives) {
          given_.insert(p);
          in_use_.insert(p);
        } else {
          given_.erase(p);
        }
      }
    }
    if (gives) {
      if (auto* error = rd_kafka_incremental_assign(client_.get(), list))
        rd_kafka_error_destroy(error);
      rd_kafka_pause_partitions(client_.get(), list);
    } else {
      if (asked_back_) unassign();
      asked_back_.reset(rd_kafka_topic_partition_list_copy(list));
      release_until_ = Clock::now() + std::chrono::milliseconds(options_.release_timeout_ms);
      if (lost || stopping_) unassign();
    }
    if (stopping_) return;
    for (int i = 0; i < list->cnt; ++i)
      on_change_(partition_at(list, i), gives  ? Turn::kGiven
                                        : lost ? Turn::kLost
                                               : Turn::kAskedBack);
  }

  const KafkaOptions kafka_;
  const MembershipOptions options_;
  const std::string group_ = kafka_.topic_prefix + "soma.nodes";
  const OnChange on_change_;
  kafka::ClientEvents events_;
  kafka::Client client_;
  kafka::Complaints complaints_;  // the polling thread's
  List asked_back_;               // the polling thread's
  Clock::time_point release_until_, come_back_at_;
  std::optional<Clock::time_point> replaced_at_;
  bool taken_ = false;       // its name is another's
  bool forgetting_ = false;  // closes a client that will be made anew
  mutable std::mutex mutex_;
  Status health_;
  std::set<PartitionId> given_, in_use_;
  std::atomic<bool> stopping_{false}, leaving_{false}, left_{false};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Membership>> join_nodes(KafkaOptions kafka, MembershipOptions options,
                                               Membership::OnChange on_change) {
  auto group = std::make_unique<Group>(std::move(kafka), std::move(options), std::move(on_change));
  if (auto ok = group->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<Membership>(std::move(group));
}

}  // namespace soma::events
