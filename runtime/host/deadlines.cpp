// An ordered map, looked through every grain of time while anything is in it.
#include "runtime/host/deadlines.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace soma::runtime {

struct Deadlines::Table : std::enable_shared_from_this<Table> {
  explicit Table(Clock& c) : clock(c) {}

  using Key = std::pair<std::int64_t, std::uint64_t>;  // when, and in order of setting

  Key add(std::int64_t at_ms, std::function<void()> late) {
    std::lock_guard lock(mutex);
    const Key key{at_ms, ++last};
    waiting.emplace(key, std::move(late));
    if (!std::exchange(watched, true)) watch();
    return key;
  }

  void remove(const Key& key) {
    std::function<void()> dropped;  // after the lock: it may hold the last of something
    std::lock_guard lock(mutex);
    if (auto it = waiting.find(key); it != waiting.end()) {
      dropped = std::move(it->second);
      waiting.erase(it);
    }
  }

  void watch() {
    clock.call_in(kGrainMs, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->look();
    });
  }

  void look() {
    std::vector<std::function<void()>> late;
    {
      std::lock_guard lock(mutex);
      const auto now = clock.steady_ms();
      while (!waiting.empty() && waiting.begin()->first.first <= now) {
        late.push_back(std::move(waiting.begin()->second));
        waiting.erase(waiting.begin());
      }
      watched = !waiting.empty();
      if (watched) watch();
    }
    for (auto& call : late) call();
  }

  Clock& clock;
  std::mutex mutex;
  std::map<Key, std::function<void()>> waiting;
  std::uint64_t last = 0;
  bool watched = false;
};

Deadlines::Deadlines(Clock& clock) : table_(std::make_shared<Table>(clock)) {}

Deadlines::Token Deadlines::set(std::int64_t at_ms, std::function<void()> late) {
  const auto key = table_->add(at_ms, std::move(late));
  return {nullptr, [table = table_, key](void*) { table->remove(key); }};
}

}  // namespace soma::runtime
