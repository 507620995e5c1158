// Topics in memory, for what works on topics.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "events/kafka/topic_clients.h"

namespace soma::runtime::integration::test {

// What is shared with the test; thread-safe through its mutex.
struct Topics {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<events::TopicRecord> sent;
  std::map<PartitionId, events::TopicCursors::Cursor> cursors;
  std::deque<events::TopicRecord> incoming;
  std::map<std::uint32_t, std::uint64_t> committed;  // by partition
  std::set<events::TopicPart> held;
  std::size_t commits = 0;
  bool send_fails = false, store_fails = false;
  bool sends_wait = false, commits_wait = false;  // nobody tells what became of them
  bool first_send_waits = false;                  // nobody tells of it, but of those behind it
  std::size_t commits_to_refuse = 0;              // because of a rebalance
  bool assigned = true;
  std::size_t flying = 0;
  Status health;
  bool gone = false;              // the receiver
  std::function<void()> in_poll;  // once

  std::vector<events::TopicRecord> all_sent() {
    std::lock_guard lock(mutex);
    return sent;
  }
};

class FakeSender final : public events::TopicSender {
 public:
  explicit FakeSender(Topics& topics) : topics_(topics) {}
  void send_soon(const std::vector<events::TopicRecord>& records, OnTold told) override {
    {
      std::lock_guard lock(topics_.mutex);
      flying_.emplace_back(records, std::move(told));
      topics_.flying = flying_.size();
    }
    if (wake_) wake_();
  }
  void poll(int) override {
    std::unique_lock lock(topics_.mutex);
    if (topics_.sends_wait) return;
    const bool fails = topics_.send_fails;
    auto flying = std::exchange(flying_, {});
    if (topics_.first_send_waits && !flying.empty()) {
      flying_.push_back(std::move(flying.front()));
      flying.pop_front();
    }
    topics_.flying = flying_.size();
    if (!fails)
      for (const auto& [records, told] : flying)
        topics_.sent.insert(topics_.sent.end(), records.begin(), records.end());
    lock.unlock();
    for (const auto& [records, told] : flying)
      told(fails ? fail(Code::kUnavailable, "no broker") : Status{});
  }
  void wake_with(std::function<void()> wake) override { wake_ = std::move(wake); }

 private:
  Topics& topics_;
  std::function<void()> wake_;
  std::deque<std::pair<std::vector<events::TopicRecord>, OnTold>> flying_;
};

class FakeCursors final : public events::TopicCursors {
 public:
  explicit FakeCursors(Topics& topics) : topics_(topics) {}
  Result<std::optional<Cursor>> load(const std::string&, PartitionId partition) override {
    std::lock_guard lock(topics_.mutex);
    const auto it = topics_.cursors.find(partition);
    return it == topics_.cursors.end() ? std::optional<Cursor>() : it->second;
  }
  Status store(const std::string&, const std::map<PartitionId, Cursor>& cursors) override {
    std::lock_guard lock(topics_.mutex);
    if (topics_.store_fails) return fail(Code::kUnavailable, "no broker");
    for (const auto& [partition, cursor] : cursors) topics_.cursors[partition] = cursor;
    return {};
  }

 private:
  Topics& topics_;
};

class FakeReceiver final : public events::TopicReceiver {
 public:
  explicit FakeReceiver(Topics& topics) : topics_(topics) {}
  ~FakeReceiver() override {
    std::lock_guard lock(topics_.mutex);
    topics_.gone = true;
  }
  std::optional<events::TopicRecord> poll(int wait_ms) override {
    tell();
    std::unique_lock lock(topics_.mutex);
    if (const auto act = topics_.in_poll) {
      lock.unlock();
      act();
      lock.lock();
      topics_.in_poll = nullptr;
      topics_.changed.notify_all();
    }
    const auto given = [&] {
      return std::find_if(topics_.incoming.begin(), topics_.incoming.end(), [&](const auto& r) {
        return !topics_.held.contains({r.topic, r.partition});
      });
    };
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms);
    topics_.changed.wait_until(lock, until, [&] {
      return awake_ || topics_.in_poll || given() != topics_.incoming.end();
    });
    awake_ = false;
    const auto it = given();
    if (it == topics_.incoming.end()) return {};
    auto record = std::move(*it);
    topics_.incoming.erase(it);
    return record;
  }
  void wake() override {
    std::lock_guard lock(topics_.mutex);
    awake_ = true;
    topics_.changed.notify_all();
  }
  void hold(const events::TopicPart& part, bool held) override {
    std::lock_guard lock(topics_.mutex);
    held ? (void)topics_.held.insert(part) : (void)topics_.held.erase(part);
  }
  void commit_soon(const std::vector<events::TopicPlace>& places, OnTold told) override {
    ASSERT_FALSE(told_) << "two commits at a time";
    places_ = places;
    told_ = std::move(told);
  }
  Status commit(const std::vector<events::TopicPlace>& places) override {
    std::lock_guard lock(topics_.mutex);
    for (const auto& p : places) topics_.committed[p.part.partition.value] = p.next.value;
    return {};
  }
  bool assigned() const override {
    std::lock_guard lock(topics_.mutex);
    return topics_.assigned;
  }
  Status health() const override {
    std::lock_guard lock(topics_.mutex);
    return topics_.health;
  }

 private:
  void tell() {
    bool refused = false;
    {
      std::lock_guard lock(topics_.mutex);
      if (!told_ || topics_.commits_wait) return;
      ++topics_.commits;
      if (topics_.commits_to_refuse > 0) refused = topics_.commits_to_refuse-- > 0;
    }
    if (!refused) (void)commit(places_);
    std::exchange(told_, nullptr)(refused ? fail(Code::kConflict, "a rebalance came") : Status{});
  }

  Topics& topics_;
  std::vector<events::TopicPlace> places_;
  OnTold told_;
  bool awake_ = false;
};

}  // namespace soma::runtime::integration::test
