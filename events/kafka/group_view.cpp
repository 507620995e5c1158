// One question to the coordinator.
#include "events/kafka/group_view.h"

#include <array>

#include "events/kafka/client.h"

namespace soma::events {

namespace {

constexpr int kWaitMs = 2000;

struct OptionsDeleter {
  void operator()(rd_kafka_AdminOptions_t* o) const { rd_kafka_AdminOptions_destroy(o); }
};
struct EventDeleter {
  void operator()(rd_kafka_event_t* e) const { rd_kafka_event_destroy(e); }
};

GroupView::Member member_of(const rd_kafka_MemberDescription_t* m, const std::string& topic) {
  GroupView::Member out;
  out.member_id = rd_kafka_MemberDescription_consumer_id(m);
  if (const char* name = rd_kafka_MemberDescription_group_instance_id(m)) out.node_id = name;
  const auto* assignment = rd_kafka_MemberDescription_assignment(m);
  const auto* given = assignment ? rd_kafka_MemberAssignment_partitions(assignment) : nullptr;
  for (int i = 0; given && i < given->cnt; ++i)
    if (given->elems[i].topic == topic)
      out.given.insert(PartitionId{static_cast<std::uint32_t>(given->elems[i].partition)});
  return out;
}

class Viewer final : public GroupViewer {
 public:
  explicit Viewer(KafkaOptions kafka) : kafka_(std::move(kafka)) {}

  Status open() {
    if (auto ok = kafka::check_options(kafka_); !ok) return ok;
    auto client = kafka::make_client(RD_KAFKA_PRODUCER, kafka_, {}, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    queue_.reset(rd_kafka_queue_new(client_.get()));
    return {};
  }

  Result<GroupView> look() override {
    const std::unique_ptr<rd_kafka_AdminOptions_t, OptionsDeleter> options(
        rd_kafka_AdminOptions_new(client_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS));
    std::array<char, 256> reason{};
    rd_kafka_AdminOptions_set_request_timeout(options.get(), kWaitMs, reason.data(), reason.size());
    using Event = std::unique_ptr<rd_kafka_event_t, EventDeleter>;
    while (const Event late{rd_kafka_queue_poll(queue_.get(), 0)}) continue;
    const char* groups[] = {group_.c_str()};
    rd_kafka_DescribeConsumerGroups(client_.get(), groups, 1, options.get(), queue_.get());
    const Event event(rd_kafka_queue_poll(queue_.get(), 2 * kWaitMs));
    if (!event) return fail(Code::kUnavailable, "the group " + group_ + " is not known in time");
    if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
      return fail(Code::kUnavailable,
                  "the group " + group_ + ": " + rd_kafka_event_error_string(event.get()));
    std::size_t count = 0;
    const auto** described = rd_kafka_DescribeConsumerGroups_result_groups(
        rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
    if (count != 1) return fail(Code::kUnavailable, "the group " + group_ + " is not described");
    if (const auto* error = rd_kafka_ConsumerGroupDescription_error(described[0]))
      return fail(Code::kUnavailable, "the group " + group_ + ": " + rd_kafka_error_string(error));
    GroupView out;
    out.stable = rd_kafka_ConsumerGroupDescription_state(described[0]) ==
                 RD_KAFKA_CONSUMER_GROUP_STATE_STABLE;
    const auto members = rd_kafka_ConsumerGroupDescription_member_count(described[0]);
    for (std::size_t i = 0; i < members; ++i)
      out.members.push_back(
          member_of(rd_kafka_ConsumerGroupDescription_member(described[0], i), topic_));
    return out;
  }

 private:
  const KafkaOptions kafka_;
  const std::string group_ = kafka_.topic_prefix + "soma.nodes";
  const std::string topic_ = kafka::journal_topic(kafka_);
  kafka::ClientEvents events_;
  kafka::Client client_;
  kafka::QueueHandle queue_;
};

}  // namespace

Result<std::unique_ptr<GroupViewer>> view_nodes(KafkaOptions kafka) {
  auto viewer = std::make_unique<Viewer>(std::move(kafka));
  if (auto ok = viewer->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<GroupViewer>(std::move(viewer));
}

}  // namespace soma::events
