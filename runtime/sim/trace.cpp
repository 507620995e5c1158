// Hashing in blocks.
#include "runtime/sim/trace.h"

#include "schemas/base/sha256.h"

namespace soma::sim {

namespace {
constexpr std::size_t kBlockBytes = 64 * 1024;
}

void Trace::line(std::int64_t now_us, const std::string& text) {
  std::string full = std::to_string(now_us) + " " + text;
  if (print_) print_(full);
  ++lines_;
  pending_ += full;
  pending_ += '\n';
  if (pending_.size() >= kBlockBytes) hash();
  tail_.push_back(std::move(full));
  if (tail_.size() > kTail) tail_.pop_front();
}

std::string Trace::hash() {
  if (!pending_.empty() || hash_.empty()) hash_ = sha256(hash_ + pending_);
  pending_.clear();
  return hex(hash_);
}

}  // namespace soma::sim
