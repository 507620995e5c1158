// A keyed topic in memory. A handle takes what others appended when it appends or catches up, never
// by itself: so that tests choose who lags.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "events/kafka/keyed_topic.h"

namespace soma::test {

struct FakeKeyedTopic {
  std::vector<events::KeyedRecord> records;
  bool away = false;    // no broker answers
  bool cleans = false;  // a scan finds it compacted
  std::mutex mutex;     // of handles on several threads
  std::condition_variable put_something;

  // Of each key the newest record stays, at its offset; a tombstone goes, too.
  void compact() {
    std::vector<events::KeyedRecord> kept;
    for (std::size_t i = 0; i < records.size(); ++i) {
      bool newer = false;
      for (std::size_t k = i + 1; k < records.size(); ++k)
        newer |= records[k].key == records[i].key;
      if (!newer && records[i].value) kept.push_back(records[i]);
    }
    records = std::move(kept);
  }

  void put(std::string key, std::optional<std::string> value) {
    records.push_back({Offset{next++}, std::move(key), std::move(value)});
    put_something.notify_all();
  }

  std::uint64_t next = 0;
};

class FakeKeyedHandle final : public events::KeyedTopic {
 public:
  FakeKeyedHandle(FakeKeyedTopic& topic, Take take) : topic_(topic), take_(std::move(take)) {}
  Status append(const std::vector<events::KeyedRecord>& records) override {
    std::lock_guard lock(topic_.mutex);
    if (topic_.away) return fail(Code::kUnavailable, "no broker");
    for (const auto& r : records) topic_.put(r.key, r.value);
    return take();
  }
  Status catch_up() override {
    std::lock_guard lock(topic_.mutex);
    return take();
  }
  Status scan(const Take& take, const std::function<bool()>& stopping) override {
    std::lock_guard lock(topic_.mutex);
    if (stopping()) return fail(Code::kCancelled, "the node is stopping");
    if (topic_.cleans) topic_.compact();
    for (const auto& r : topic_.records) take(r);
    return {};
  }

 private:
  Status take() {
    if (topic_.away) return fail(Code::kUnavailable, "no broker");
    for (const auto& r : topic_.records)
      if (r.offset.value >= next_) take_(r);
    next_ = topic_.next;
    return {};
  }
  FakeKeyedTopic& topic_;
  const Take take_;
  std::uint64_t next_ = 0;
};

}  // namespace soma::test
