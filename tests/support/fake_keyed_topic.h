// A keyed topic in memory. A handle takes what others appended when it appends or catches up, never
// by itself: so that tests choose who lags.
#pragma once

#include <memory>
#include <vector>

#include "events/kafka/keyed_topic.h"

namespace soma::test {

struct FakeKeyedTopic {
  std::vector<events::KeyedRecord> records;
  bool away = false;  // no broker answers

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
  }

  std::uint64_t next = 0;
};

class FakeKeyedHandle final : public events::KeyedTopic {
 public:
  FakeKeyedHandle(FakeKeyedTopic& topic, Take take) : topic_(topic), take_(std::move(take)) {}
  Status append(const std::vector<events::KeyedRecord>& records) override {
    if (topic_.away) return fail(Code::kUnavailable, "no broker");
    for (const auto& r : records) topic_.put(r.key, r.value);
    return catch_up();
  }
  Status catch_up() override {
    if (topic_.away) return fail(Code::kUnavailable, "no broker");
    for (const auto& r : topic_.records)
      if (r.offset.value >= next_) take_(r);
    next_ = topic_.next;
    return {};
  }
  Status scan(const Take& take) override {
    for (const auto& r : topic_.records) take(r);
    return {};
  }

 private:
  FakeKeyedTopic& topic_;
  const Take take_;
  std::uint64_t next_ = 0;
};

}  // namespace soma::test
