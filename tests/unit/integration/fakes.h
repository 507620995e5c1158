// Topics in memory, for what works on topics.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "events/kafka/topic_clients.h"

namespace soma::runtime::integration::test {

// What is shared with the test; thread-safe through its mutex.
struct Topics {
  std::mutex mutex;
  std::vector<events::TopicRecord> sent;
  std::map<std::uint32_t, events::TopicCursors::Cursor> cursors;
  std::deque<events::TopicRecord> incoming;
  std::map<std::uint32_t, std::uint64_t> committed;  // by partition
  bool send_fails = false, store_fails = false;

  std::vector<events::TopicRecord> all_sent() {
    std::lock_guard lock(mutex);
    return sent;
  }
};

class FakeSender final : public events::TopicSender {
 public:
  explicit FakeSender(Topics& topics) : topics_(topics) {}
  Status send(const std::vector<events::TopicRecord>& records) override {
    std::lock_guard lock(topics_.mutex);
    if (topics_.send_fails && !records.empty()) return fail(Code::kUnavailable, "no broker");
    topics_.sent.insert(topics_.sent.end(), records.begin(), records.end());
    return {};
  }

 private:
  Topics& topics_;
};

class FakeCursors final : public events::TopicCursors {
 public:
  explicit FakeCursors(Topics& topics) : topics_(topics) {}
  Result<std::optional<Cursor>> load(const std::string&, PartitionId partition) override {
    std::lock_guard lock(topics_.mutex);
    const auto it = topics_.cursors.find(partition.value);
    return it == topics_.cursors.end() ? std::optional<Cursor>() : it->second;
  }
  Status store(const std::string&, PartitionId partition, const Cursor& cursor) override {
    std::lock_guard lock(topics_.mutex);
    if (topics_.store_fails) return fail(Code::kUnavailable, "no broker");
    topics_.cursors[partition.value] = cursor;
    return {};
  }

 private:
  Topics& topics_;
};

class FakeReceiver final : public events::TopicReceiver {
 public:
  explicit FakeReceiver(Topics& topics) : topics_(topics) {}
  std::optional<events::TopicRecord> poll(int wait_ms) override {
    std::unique_lock lock(topics_.mutex);
    if (topics_.incoming.empty()) {
      lock.unlock();
      std::mutex own;  // as long as a poll without records would take, or a little less
      std::unique_lock wait(own);
      std::condition_variable().wait_for(wait, std::chrono::milliseconds(std::min(wait_ms, 2)));
      return {};
    }
    auto record = std::move(topics_.incoming.front());
    topics_.incoming.pop_front();
    return record;
  }
  Status commit(const std::vector<events::TopicPlace>& places) override {
    std::lock_guard lock(topics_.mutex);
    for (const auto& p : places) topics_.committed[p.partition.value] = p.next.value;
    return {};
  }
  void pause(const std::string&, PartitionId, bool) override {}

 private:
  Topics& topics_;
};

}  // namespace soma::runtime::integration::test
