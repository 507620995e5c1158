// Old events in new clothes: steps from one version of an event type to the next.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "schemas/base/errors.h"
#include "soma/v1/frame.pb.h"

namespace soma::events {

struct EventVersion {
  std::string type;
  std::uint32_t schema = 0;
  auto operator<=>(const EventVersion&) const = default;
};

// A value, filled once where the program is wired together; const use is thread-safe. Upcasters are
// pure: the same old bytes give the same new bytes on every build that has them.
class Upcasters {
 public:
  using Upcast = std::function<Result<std::string>(std::string_view payload)>;

  // kConflict: `from` has a step already. kInvalidArgument: the steps would run in a circle.
  Status add(EventVersion from, EventVersion to, Upcast upcast);

  // Brings `event` to the newest version known; leaves it alone when there is no step for it.
  // kCorrupt when a step cannot read the payload; kInvalidArgument when the payload is encrypted
  // (decrypt first).
  Status apply(v1::RecordedEvent& event) const;

  bool knows(const EventVersion& from) const { return steps_.contains(from); }

 private:
  struct Step {
    EventVersion to;
    Upcast upcast;
  };
  std::map<EventVersion, Step> steps_;
};

}  // namespace soma::events
