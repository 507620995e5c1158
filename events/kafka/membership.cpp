// The consumer group. Nothing is consumed: the assignment is all that is wanted.
#include "events/kafka/membership.h"

#include <atomic>
#include <thread>

#include "events/kafka/client.h"
#include "events/kafka/topics.h"

namespace soma::events {

namespace {

constexpr int kPollMs = 100;

class Group final : public Membership {
 public:
  Group(KafkaOptions kafka, MembershipOptions options, std::function<void(bool)> on_change)
      : kafka_(std::move(kafka)), options_(std::move(options)), on_change_(std::move(on_change)) {}

  ~Group() override {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    if (client_) rd_kafka_consumer_close(client_.get());
  }

  Status open() {
    if (auto ok = kafka::check_options(kafka_); !ok) return ok;
    const std::string name = kafka_.topic_prefix + "soma.nodes";
    if (kafka_.manage_topics)
      if (auto ok = kafka::prepare_nodes_topic(kafka_, name); !ok) return ok;
    events_.on_rebalance = [this](rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
      rebalance(code, list);
    };
    const kafka::Properties properties = {
        {"group.id", name},
        {"group.instance.id", options_.node_id},
        {"partition.assignment.strategy", "cooperative-sticky"},
        {"session.timeout.ms", std::to_string(options_.session_timeout_ms)},
        {"heartbeat.interval.ms", std::to_string(options_.session_timeout_ms / 6)},
        {"enable.auto.commit", "false"}};
    auto client = kafka::make_client(RD_KAFKA_CONSUMER, kafka_, properties, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    rd_kafka_poll_set_consumer(client_.get());
    rd_kafka_topic_partition_list_t* topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, name.c_str(), RD_KAFKA_PARTITION_UA);
    const auto code = rd_kafka_subscribe(client_.get(), topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
      return tl::unexpected(kafka::to_error(code, "cannot join " + name));
    thread_ = std::thread([this] {
      while (!stopping_)
        if (auto* m = rd_kafka_consumer_poll(client_.get(), kPollMs)) rd_kafka_message_destroy(m);
    });
    return {};
  }

  bool chosen() const override { return chosen_; }

 private:
  // No I/O here: the node acts on its own thread.
  void rebalance(rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
    const bool given = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_error_t* error = given ? rd_kafka_incremental_assign(client_.get(), list)
                                    : rd_kafka_incremental_unassign(client_.get(), list);
    if (error) rd_kafka_error_destroy(error);
    if (given) rd_kafka_pause_partitions(client_.get(), list);
    if (list->cnt == 0 || chosen_ == given) return;
    chosen_ = given;
    if (!stopping_) on_change_(given);
  }

  const KafkaOptions kafka_;
  const MembershipOptions options_;
  const std::function<void(bool)> on_change_;
  kafka::ClientEvents events_;
  kafka::Client client_;
  std::atomic<bool> chosen_{false}, stopping_{false};
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Membership>> join_nodes(KafkaOptions kafka, MembershipOptions options,
                                               std::function<void(bool)> on_change) {
  auto group = std::make_unique<Group>(std::move(kafka), std::move(options), std::move(on_change));
  if (auto ok = group->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<Membership>(std::move(group));
}

}  // namespace soma::events
