// How far synced bytes reach, as the engine last noted it in FOLDER/mark.
#pragma once

#include <cstdint>
#include <string>

#include "schemas/base/errors.h"

namespace soma::events {

struct Mark {
  std::uint64_t round = 0;    // the last round known synced
  std::uint64_t segment = 0;  // where it stands
  std::uint64_t end = 0;      // byte after it in that segment
  bool clean = false;         // the log was closed: nothing was being written
};
inline constexpr std::size_t kMarkBytes = 32;
std::string encode_mark(const Mark& mark);

// Absent, empty or all zero (a power cut before it reached the disk): round 0. Damaged: kCorrupt.
Result<Mark> read_mark(const std::string& folder);

}  // namespace soma::events
