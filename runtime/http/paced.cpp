// Waits for the stream's own word.
#include "runtime/http/paced.h"

#include <algorithm>
#include <chrono>

namespace soma::runtime::http {

namespace {

// Beyond any write timeout of a connection: then nobody is there who would tell.
constexpr std::chrono::seconds kLongest{120};

}  // namespace

PacedWriter::PacedWriter(std::shared_ptr<EventStream> out) : out_(std::move(out)) {
  out_->on_disconnect([turn = turn_] {
    const std::lock_guard lock(turn->mutex);
    turn->gone = true;
    turn->changed.notify_all();
  });
}

bool PacedWriter::wait() {
  {
    const std::lock_guard lock(turn_->mutex);
    turn_->writable = false;
  }
  out_->on_writable([turn = turn_] {
    const std::lock_guard lock(turn->mutex);
    turn->writable = true;
    turn->changed.notify_all();
  });
  std::unique_lock lock(turn_->mutex);
  const bool told =
      turn_->changed.wait_for(lock, kLongest, [&] { return turn_->writable || turn_->gone; });
  return told && !turn_->gone;
}

bool PacedWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, kPiece);
    if (!wait() || !out_->raw(piece)) return false;
    bytes.remove_prefix(piece.size());
  }
  return true;
}

}  // namespace soma::runtime::http
