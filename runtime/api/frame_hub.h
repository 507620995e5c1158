// Who waits for which actor's events: fed by valid frames, read by streams and waiting requests.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/host/host.h"

namespace soma::runtime {

// Thread-safe. Listeners run on the host's thread that found the frame valid and must not block.
class FrameHub {
 public:
  using Events = std::vector<Host::HistoryEvent>;
  using Listener = std::function<void(const Events&)>;  // one actor's events of one frame, in order

  explicit FrameHub(Host& host);
  ~FrameHub();
  FrameHub(const FrameHub&) = delete;
  FrameHub& operator=(const FrameHub&) = delete;

  // Listens until the returned token is destroyed.
  using Token = std::shared_ptr<void>;
  [[nodiscard]] Token listen(const ActorKey& actor, Listener listener);

 private:
  struct Table;
  static void dispatch(Table& table, const events::ValidFrame& frame);
  Host& host_;
  std::shared_ptr<Table> table_;
  std::uint64_t observer_ = 0;
};

}  // namespace soma::runtime
