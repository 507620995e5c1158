// Alarms of which nearly all are called off: one that is leaves nothing behind.
#pragma once

#include <functional>
#include <memory>

#include "runtime/host/ports.h"

namespace soma::runtime {

// Thread-safe. Rings up to kGrainMs late. `clock` outlives it; what it has yet to ring is dropped
// with it.
class Deadlines {
 public:
  static constexpr std::int64_t kGrainMs = 250;
  explicit Deadlines(Clock& clock);

  // `at_ms` by the steady clock. Calls `late` once, on a clock thread, unless the token has gone
  // before; it must not block.
  using Token = std::shared_ptr<void>;
  [[nodiscard]] Token set(std::int64_t at_ms, std::function<void()> late);

 private:
  struct Table;
  std::shared_ptr<Table> table_;
};

}  // namespace soma::runtime
