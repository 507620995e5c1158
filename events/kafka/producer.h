// One idempotent producer and the partitions dealt to it: appends in, reports out in their order.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "events/kafka/client.h"
#include "events/kafka/partitions.h"

namespace soma::events::kafka {

struct ProducerCounts {
  std::atomic<std::uint64_t> appends{0}, durable{0}, without_offset{0}, unknown{0}, refused{0},
      rebuilt{0}, brokers_up{0}, rtt_avg_us{0}, queued{0}, sent_bytes{0};
};

// Owned by the log. `append` is thread-safe; reports come from the producer's own thread, but those
// of refusals may come from the caller's. After a fatal error or a failed report the client is
// replaced: what was in flight is reported unknown first (rule 6 of the README).
class Producer {
 public:
  static Result<std::unique_ptr<Producer>> start(const KafkaOptions& options, Ends& ends);
  ~Producer();  // waits a moment for what is in flight; the rest is reported unknown

  void append(PartitionId partition, std::string record, Log::OnReport on_report);
  Status health() const;
  const ProducerCounts& counts() const { return counts_; }
  void inject_fatal();

 private:
  struct Append {
    PartitionId partition;
    std::string record;  // librdkafka reads it in place until it reports
    Log::OnReport on_report;
    std::optional<AppendReport> report;
  };
  struct Line {  // appends of a partition, oldest first
    std::deque<std::unique_ptr<Append>> appends;
    bool delivering = false;
  };

  Producer(const KafkaOptions& options, Ends& ends);
  Status open();
  void run();
  void rebuild();
  void on_report(const rd_kafka_message_t& message);
  void on_error(rd_kafka_resp_err_t code, const std::string& reason);
  void on_statistics(std::string_view json);
  std::optional<Error> hand_over(Append& append);
  void deliver(PartitionId partition);
  void give_up(const Error& error);
  bool idle() const;

  const KafkaOptions& options_;
  const std::string topic_name_;
  Ends& ends_;
  ProducerCounts counts_;
  ClientEvents events_;
  std::atomic<bool> stopping_{false}, tainted_{false};
  // Monotonic time of the last sign that no broker answers; 0 when one did since.
  std::atomic<std::int64_t> unreachable_us_{0};

  mutable std::mutex mutex_;
  Client client_;  // none while it is being replaced
  TopicHandle topic_;
  std::vector<Line> lines_;
  std::size_t open_ = 0;  // appends without a report
  std::string problem_;   // of the last failed report or rebuild
  std::thread thread_;
};

}  // namespace soma::events::kafka
