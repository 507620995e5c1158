// One question to the coordinator, by librdkafka's old call: the one of its admin interface ends
// the process of 2.0.2 when the coordinator goes away meanwhile (an assertion on `eonce->refcnt`).
#include "events/kafka/group_view.h"

#include <algorithm>

#include "events/kafka/assignment.h"
#include "events/kafka/client.h"

namespace soma::events {

namespace {

constexpr int kWaitMs = 2000;

struct ListDeleter {
  void operator()(const rd_kafka_group_list* l) const { rd_kafka_group_list_destroy(l); }
};

std::string text(const char* t) { return t ? t : ""; }

class Viewer final : public GroupViewer {
 public:
  explicit Viewer(KafkaOptions kafka) : kafka_(std::move(kafka)) {}

  Status open() {
    if (auto ok = kafka::check_options(kafka_); !ok) return ok;
    auto client = kafka::make_client(RD_KAFKA_PRODUCER, kafka_, {}, events_);
    if (!client) return tl::unexpected(client.error());
    client_ = std::move(*client);
    return {};
  }

  Result<GroupView> look() override {
    const rd_kafka_group_list* found = nullptr;
    const auto code = rd_kafka_list_groups(client_.get(), group_.c_str(), &found, kWaitMs);
    const std::unique_ptr<const rd_kafka_group_list, ListDeleter> list(found);
    // Some broker did not answer in time: it counts only where the group is not known by then.
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && (code != RD_KAFKA_RESP_ERR__PARTIAL || !list))
      return tl::unexpected(kafka::to_error(code, "the group " + group_));
    for (int i = 0; i < list->group_cnt; ++i) {
      const auto& g = list->groups[i];
      if (text(g.group) != group_) continue;
      if (g.err) return tl::unexpected(kafka::to_error(g.err, "the group " + group_));
      return view(g);
    }
    if (code) return tl::unexpected(kafka::to_error(code, "the group " + group_));
    return GroupView{};  // nobody has joined yet
  }

 private:
  GroupView view(const rd_kafka_group_info& group) const {
    GroupView out;
    out.stable = text(group.state) == "Stable";
    for (int i = 0; i < group.member_cnt; ++i) {
      const auto& m = group.members[i];
      GroupView::Member& member = out.members.emplace_back();
      member.member_id = text(m.member_id);
      member.node_id = kafka::node_of_client(text(m.client_id));
      member.given =
          kafka::assigned({static_cast<const char*>(m.member_assignment),
                           static_cast<std::size_t>(std::max(0, m.member_assignment_size))},
                          topic_);
    }
    return out;
  }

  const KafkaOptions kafka_;
  const std::string group_ = kafka_.topic_prefix + "soma.nodes";
  const std::string topic_ = kafka::journal_topic(kafka_);
  kafka::ClientEvents events_;
  kafka::Client client_;
};

}  // namespace

Result<std::unique_ptr<GroupViewer>> view_nodes(KafkaOptions kafka) {
  auto viewer = std::make_unique<Viewer>(std::move(kafka));
  if (auto ok = viewer->open(); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<GroupViewer>(std::move(viewer));
}

}  // namespace soma::events
