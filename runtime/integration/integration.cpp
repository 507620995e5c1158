// Makes the topics, then opens what works on them.
#include "runtime/integration/integration.h"

#include "runtime/telemetry/log.h"
#include "schemas/base/thread_name.h"

namespace soma::runtime::integration {

namespace {

constexpr std::int64_t kDayMs = 24LL * 3600 * 1000;
constexpr std::int64_t kEventsKeptMs = 7 * kDayMs;
constexpr std::int64_t kDeadLettersKeptMs = 30 * kDayMs;
constexpr auto kPause = std::chrono::seconds(5);

}  // namespace

std::string publisher_group(const std::string& prefix) { return prefix + "soma.publisher"; }
// Its members before v2 shared partitions by another protocol, and a group has one.
std::string inbox_group(const std::string& prefix) { return prefix + "soma.inbox.v2"; }

std::vector<events::TopicWish> topic_wishes(const std::string& prefix, std::uint32_t partitions) {
  std::vector<events::TopicWish> out;
  const auto wish = [&](std::string_view name, std::int64_t kept_ms) {
    const std::string full = prefix + std::string(name);
    for (const auto& w : out)
      if (w.name == full) return;
    out.push_back({full, partitions, kept_ms});
  };
  for (const auto& topic : inbound_topics()) {
    wish(topic.name, kEventsKeptMs);
    wish(topic.dead_letters, kDeadLettersKeptMs);
  }
  for (const auto& topic : public_topics()) wish(topic.name, kEventsKeptMs);
  return out;
}

Integration::Integration(IntegrationParts parts) : parts_(std::move(parts)) {
  thread_ = std::thread([this] {
    name_thread("soma-topics");
    run();
  });
}

Integration::~Integration() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
  inbox_.reset();
  publisher_.reset();
}

bool Integration::pause() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPause, [&] { return stopping_; });
  return !stopping_;
}

void Integration::run() {
  const auto up =
      parts_.metrics->gauge("soma_integration_up", "1 once the topics of integrators are open");
  std::string said;
  for (auto ok = open(); !ok; ok = open()) {
    up.set(0);
    if (ok.error().message != said) log_error("topics wait", {{"reason", ok.error().message}});
    said = ok.error().message;
    if (!pause()) return;
  }
  up.set(1);
  log_info("topics of integrators are open");
}

Status Integration::open() {
  const auto& prefix = parts_.kafka.topic_prefix;
  if (auto ok =
          events::prepare_topics(parts_.kafka, topic_wishes(prefix, parts_.log->partition_count()));
      !ok)
    return ok;
  auto sender = events::open_topic_sender(parts_.kafka);
  if (!sender) return tl::unexpected(sender.error());
  auto letters = events::open_topic_sender(parts_.kafka);
  if (!letters) return tl::unexpected(letters.error());
  auto cursors = events::open_topic_cursors(parts_.kafka, publisher_group(prefix));
  if (!cursors) return tl::unexpected(cursors.error());
  std::lock_guard lock(mutex_);
  if (stopping_) return {};
  publisher_ = std::make_unique<Publisher>(
      PublisherParts{parts_.log, parts_.catalog, parts_.metrics, prefix, prefix + "soma.events",
                     parts_.served, std::move(*sender), std::move(*cursors), parts_.watch});
  InboxParts inbox;
  inbox.receiver = [this](auto on_revoked) {
    const std::string& prefix = parts_.kafka.topic_prefix;
    events::ReceiverOptions options;
    options.group = inbox_group(prefix);
    options.member_id = parts_.node_id;
    options.session_timeout_ms = parts_.session_timeout_ms;
    for (const auto& topic : inbound_topics())
      options.topics.push_back(prefix + std::string(topic.name));
    options.on_revoked = std::move(on_revoked);
    return events::open_topic_receiver(parts_.kafka, std::move(options));
  };
  inbox.sender = std::move(*letters);
  inbox.apply = parts_.apply;
  inbox.ready = parts_.ready;
  inbox.topic_prefix = prefix;
  inbox.trusted_producers = parts_.trusted_producers;
  inbox.metrics = parts_.metrics;
  inbox_ = std::make_unique<Inbox>(std::move(inbox));
  return {};
}

}  // namespace soma::runtime::integration
