// Routes the events of valid frames to those who listen to their actors.
#include "runtime/api/frame_hub.h"

#include <map>

namespace soma::runtime {

struct FrameHub::Table {
  std::mutex mutex;
  std::uint64_t next = 1;
  std::unordered_map<ActorKey, std::map<std::uint64_t, std::shared_ptr<Listener>>> by_actor;
};

FrameHub::FrameHub(Host& host) : host_(host), table_(std::make_shared<Table>()) {
  // The table, not the hub: a frame may be on its way to the observer while that is removed.
  observer_ = host_.on_frame(
      [table = table_](const events::ValidFrame& frame) { dispatch(*table, frame); });
}

FrameHub::~FrameHub() { host_.remove_observer(observer_); }

FrameHub::Token FrameHub::listen(const ActorKey& actor, Listener listener) {
  std::uint64_t id = 0;
  {
    std::lock_guard lock(table_->mutex);
    id = table_->next++;
    table_->by_actor[actor][id] = std::make_shared<Listener>(std::move(listener));
  }
  return Token(nullptr, [table = table_, actor, id](void*) {
    std::lock_guard lock(table->mutex);
    auto it = table->by_actor.find(actor);
    if (it == table->by_actor.end()) return;
    it->second.erase(id);
    if (it->second.empty()) table->by_actor.erase(it);
  });
}

void FrameHub::dispatch(Table& table, const events::ValidFrame& valid) {
  struct Heard {
    const v1::Entry* entry;
    ActorKey actor;
    std::vector<std::shared_ptr<Listener>> listeners;
  };
  std::vector<Heard> all;
  {
    std::lock_guard lock(table.mutex);
    if (table.by_actor.empty()) return;
    for (const auto& entry : valid.frame->entries()) {
      if (entry.events().empty()) continue;
      ActorKey actor = actors::to_key(entry.actor());
      auto it = table.by_actor.find(actor);
      if (it == table.by_actor.end()) continue;
      auto& heard = all.emplace_back(Heard{&entry, std::move(actor), {}});
      for (const auto& [id, listener] : it->second) heard.listeners.push_back(listener);
    }
  }
  for (const auto& heard : all) {  // unlocked: a listener may stop listening
    Events events;
    for (const auto& event : heard.entry->events())
      events.push_back({heard.actor, event, heard.entry->context(), valid.position});
    for (const auto& listener : heard.listeners) (*listener)(events);
  }
}

}  // namespace soma::runtime
