// The tables that SQL sees, as cursors over the journal's valid frames. No SQLite here.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "actors/actor_type.h"
#include "events/frames.h"

namespace soma::runtime::query {

using Cell = std::variant<std::monostate, std::int64_t, double, std::string>;

// What one query reads: the journal up to where it ended when the query began. Of one thread.
struct Reading {
  const events::Log& log;
  const actors::Catalog& catalog;
  const std::string* tenant;  // null: all
  std::chrono::steady_clock::time_point deadline;
  std::function<bool()> stop;  // may be empty
  std::size_t may_hold;        // bytes of states and rows, of all cursors together
  std::vector<Offset> ends{};  // by partition
  mutable std::size_t held = 0;

  // kUnavailable: told to stop. kDeadlineExceeded.
  Status in_time() const;
};

// Entries of valid frames, partition after partition; only those of the reading's tenant.
class Entries {
 public:
  // Of one partition, or of all.
  Entries(const Reading& reading, std::optional<std::uint32_t> only);
  // False at the end. Fails as Reading::in_time.
  Result<bool> next();
  const v1::Entry& entry() const { return frame().frame->entries(at_entry_); }
  const events::ValidFrame& frame() const { return batch_[at_frame_]; }

 private:
  Result<bool> refill();

  const Reading& reading_;
  std::uint32_t partition_, last_;
  std::unique_ptr<events::FrameReader> reader_;
  std::vector<events::ValidFrame> batch_;
  std::size_t at_frame_ = 0;
  int at_entry_ = -1;
};

class Cursor {
 public:
  virtual ~Cursor() = default;
  virtual Result<bool> next() = 0;  // to the first row, then on; false at the end
  virtual Cell cell(int column) const = 0;
};

struct Table {
  const char* name;
  const char* declaration;  // CREATE TABLE, the first column named `partition`
  std::unique_ptr<Cursor> (*open)(const Reading& reading, std::optional<std::uint32_t> partition);
};

// events      one row an event; data is JSON
// decisions   one row a policy decision, from the event that made it
// actors, sessions, effects   one row each, from the states that the events make
const std::vector<Table>& tables();

namespace detail {  // by file
std::unique_ptr<Cursor> open_events(const Reading& r, std::optional<std::uint32_t> partition);
std::unique_ptr<Cursor> open_decisions(const Reading& r, std::optional<std::uint32_t> partition);
std::unique_ptr<Cursor> open_actors(const Reading& r, std::optional<std::uint32_t> partition);
std::unique_ptr<Cursor> open_sessions(const Reading& r, std::optional<std::uint32_t> partition);
std::unique_ptr<Cursor> open_effects(const Reading& r, std::optional<std::uint32_t> partition);
}  // namespace detail

}  // namespace soma::runtime::query
