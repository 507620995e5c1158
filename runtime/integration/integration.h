// Both ways of integrators on one cluster: the publisher and the inbox, once their topics are
// there.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "events/kafka/kafka_log.h"
#include "runtime/integration/inbox.h"
#include "runtime/integration/publisher.h"

namespace soma::runtime::integration {

struct IntegrationParts {
  events::KafkaOptions kafka;
  const events::Log* log = nullptr;  // these outlive the integration
  const actors::Catalog* catalog = nullptr;
  Metrics* metrics = nullptr;
  bool trusted_producers = false;
  std::string node_id;  // no other node has it
  std::int64_t session_timeout_ms = 6000;
  std::function<std::vector<PartitionId>()> served;
  std::function<bool()> ready;
  WatchFrames watch;
  std::function<void(const Command&, OnAnswer)> apply;
};

// All topics that it makes, with what a new one is like.
std::vector<events::TopicWish> topic_wishes(const std::string& prefix, std::uint32_t partitions);

std::string publisher_group(const std::string& prefix);  // whose offsets are the publisher's places
std::string inbox_group(const std::string& prefix);

// Owns three threads. Starts in the background and goes on trying: a topic with a wrong setting is
// told in the log, and taken up once it is mended.
class Integration {
 public:
  explicit Integration(IntegrationParts parts);
  ~Integration();
  Integration(const Integration&) = delete;
  Integration& operator=(const Integration&) = delete;

 private:
  void run();
  Status open();
  bool pause();  // false: stopping

  IntegrationParts parts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<Inbox> inbox_;
  std::thread thread_;
};

}  // namespace soma::runtime::integration
