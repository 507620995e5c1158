// Virtual time and what is to happen when.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

namespace soma::sim {

// Single-threaded. Events of one instant run in the order in which they were put.
class Timeline {
 public:
  using Owner = const void*;  // who may ask for its own events ahead of the others

  std::int64_t now_us() const { return now_us_; }
  void pass(std::int64_t us) { now_us_ += us; }
  // A time in the past means as soon as possible.
  void at(std::int64_t when_us, std::function<void()> event, Owner owner = nullptr);
  void after(std::int64_t us, std::function<void()> event, Owner owner = nullptr) {
    at(now_us_ + us, std::move(event), owner);
  }
  std::optional<std::int64_t> next_us() const;
  // Goes to the next event, if there is one, and runs it.
  bool run_next();
  bool run_next_of(Owner owner);
  std::size_t size() const { return events_.size(); }

 private:
  struct Event {
    std::function<void()> run;
    Owner owner;
  };
  using Key = std::pair<std::int64_t, std::uint64_t>;
  void run(std::map<Key, Event>::iterator it);

  std::int64_t now_us_ = 0;
  std::uint64_t next_ = 0;
  std::map<Key, Event> events_;
};

}  // namespace soma::sim
