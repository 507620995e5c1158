// The engine: producers, a tail, readers and a thread for judging gaps behind one interface.
#include "events/kafka/kafka_log.h"

#include <condition_variable>
#include <deque>
#include <thread>

#include "events/kafka/producer.h"
#include "events/kafka/readers.h"
#include "events/kafka/record_cache.h"
#include "events/kafka/tail.h"
#include "events/kafka/topics.h"

namespace soma::events {

namespace {

using kafka::Producer;
constexpr std::size_t kReadAheadBytes = 256 * 1024;
constexpr auto kAwaitTail = std::chrono::milliseconds(20);

// Runs what must not hold up a report thread: one task per partition at most waits here, because a
// writer judges one frame at a time.
class Aside {
 public:
  Aside() : thread_([this] { run(); }) {}
  ~Aside() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void post(std::function<void()> task) {
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

class KafkaLogImpl final : public KafkaLog {
 public:
  KafkaLogImpl(KafkaOptions options, const kafka::Journal& journal)
      : o_(std::move(options)),
        topic_(kafka::journal_topic(o_)),
        identity_("kafka " + journal.cluster + " " + topic_),
        ends_(journal.partitions),
        cache_(journal.partitions, o_.cache_bytes),
        readers_(o_) {}

  ~KafkaLogImpl() override {
    producers_.clear();  // their last reports may still ask for judgements
    aside_.reset();
    tail_.reset();
  }

  Status open(bool writing) {
    for (std::uint32_t p = 0; p < ends_.count(); ++p) {
      auto end = readers_.end(PartitionId{p});
      if (!end) return tl::unexpected(end.error());
      ends_.raise(PartitionId{p}, *end);
    }
    auto tail = kafka::Tail::start(o_, ends_, cache_);
    if (!tail) return tl::unexpected(tail.error());
    tail_ = std::move(*tail);
    const std::size_t producers = writing ? std::min<std::size_t>(o_.producers, ends_.count()) : 0;
    for (std::size_t i = 0; i < producers; ++i) {
      auto producer = Producer::start(o_, ends_);
      if (!producer) return tl::unexpected(producer.error());
      producers_.push_back(std::move(*producer));
    }
    return {};
  }

  std::uint32_t partition_count() const override { return ends_.count(); }

  void append(PartitionId partition, std::string record, OnReport on_report) override {
    if (partition.value >= ends_.count())
      return on_report(
          refusal({Code::kInvalidArgument, "no partition " + std::to_string(partition.value), {}}));
    if (producers_.empty())
      return on_report(refusal({Code::kUnavailable, "the log is open for reading only", {}}));
    producer(partition).append(partition, std::move(record), std::move(on_report));
  }

  Result<std::vector<Record>> read(PartitionId partition, Offset from,
                                   std::size_t max_bytes) const override {
    if (partition.value >= ends_.count())
      return fail(Code::kInvalidArgument, "no partition " + std::to_string(partition.value));
    reads_.fetch_add(1, std::memory_order_relaxed);
    auto cached = cache_.get(partition, from, max_bytes);
    if (cached.empty() && from < ends_.get(partition)) {
      // Acknowledged a moment ago, the tail brings it sooner than a seek.
      cache_.await(partition, from, kAwaitTail);
      cached = cache_.get(partition, from, max_bytes);
    }
    if (!cached.empty()) {
      hits_.fetch_add(1, std::memory_order_relaxed);
      return cached;
    }
    // "Nothing there" is the leader's word alone: others may have written since.
    Offset limit = ends_.get(partition);
    if (from >= limit) {
      auto end = readers_.end(partition);
      if (!end) return tl::unexpected(end.error());
      limit = *end;
      if (from >= limit) return std::vector<Record>{};
    }
    // More than asked: a seek costs milliseconds, and whoever wants one record soon wants the next.
    auto records = readers_.read(partition, from, limit, std::max(max_bytes, kReadAheadBytes));
    if (!records) return records;
    for (const auto& r : *records) cache_.put(partition, r.offset, r.bytes);
    std::size_t fit = 0;
    for (std::size_t bytes = 0; fit < records->size(); ++fit) {
      bytes += (*records)[fit].bytes.size();
      if (fit > 0 && bytes > max_bytes) break;
    }
    records->resize(fit);
    return records;
  }

  Offset end(PartitionId partition) const override {
    return partition.value < ends_.count() ? ends_.get(partition) : Offset{};
  }
  std::uint64_t follow(std::function<void(PartitionId)> on_grow) override {
    return ends_.follow(std::move(on_grow));
  }
  void unfollow(std::uint64_t subscription) override { ends_.unfollow(subscription); }
  void run_apart(std::function<void()> work) override { aside_->post(std::move(work)); }

  Status health() const override {
    for (const auto& p : producers_)
      if (auto ok = p->health(); !ok) return ok;
    return {};
  }

  KafkaFigures figures() const override {
    KafkaFigures f;
    for (const auto& p : producers_) {
      const auto& c = p->counts();
      f.appends += c.appends;
      f.durable += c.durable;
      f.without_offset += c.without_offset;
      f.unknown += c.unknown;
      f.refused += c.refused;
      f.rebuilt += c.rebuilt;
      f.brokers_up = std::max<std::uint64_t>(f.brokers_up, c.brokers_up);
      f.rtt_avg_us = std::max<std::uint64_t>(f.rtt_avg_us, c.rtt_avg_us);
      f.queued_records += c.queued;
      f.sent_bytes += c.sent_bytes;
    }
    f.reads = reads_;
    f.cache_hits = hits_;
    f.tailed = tail_->tailed();
    return f;
  }
  const std::string& topic() const override { return topic_; }
  const std::string& identity() const override { return identity_; }
  void inject_fatal(PartitionId partition) override {
    if (!producers_.empty()) producer(partition).inject_fatal();
  }

 private:
  static AppendReport refusal(Error error) {
    return {AppendReport::Kind::kRefused, {}, std::move(error)};
  }
  Producer& producer(PartitionId p) { return *producers_[p.value % producers_.size()]; }

  const KafkaOptions o_;
  const std::string topic_, identity_;
  mutable kafka::Ends ends_;
  mutable kafka::RecordCache cache_;
  mutable kafka::Readers readers_;
  std::unique_ptr<kafka::Tail> tail_;
  std::unique_ptr<Aside> aside_ = std::make_unique<Aside>();
  std::vector<std::unique_ptr<Producer>> producers_;
  mutable std::atomic<std::uint64_t> reads_{0}, hits_{0};
};

Result<std::unique_ptr<KafkaLog>> open(KafkaOptions options, bool writing) {
  if (auto ok = kafka::check_options(options); !ok) return tl::unexpected(ok.error());
  auto journal = kafka::prepare_journal(options, writing);
  if (!journal) return tl::unexpected(journal.error());
  auto log = std::make_unique<KafkaLogImpl>(std::move(options), *journal);
  if (auto ok = log->open(writing); !ok) return tl::unexpected(ok.error());
  return std::unique_ptr<KafkaLog>(std::move(log));
}

}  // namespace

Result<std::unique_ptr<KafkaLog>> open_kafka_log(KafkaOptions options) {
  return open(std::move(options), true);
}

Result<std::unique_ptr<KafkaLog>> open_kafka_log_readonly(KafkaOptions options) {
  return open(std::move(options), false);
}

}  // namespace soma::events
