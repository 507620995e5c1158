// Before memory is shown on one node of several: does the partition still belong to it?
#include "runtime/host/partition.h"

namespace soma::runtime {

// A node that was frozen may have lost the partition meanwhile, and memory be old: the log's end
// tells. So may one that could claim nothing, as the log takes no appends from it: whatever is
// written then is another's. One question for all that was read since the last one.
void Partition::start_proof() {
  if (proving_ || to_prove_.empty()) return;
  proving_ = true;
  in_proof_ = std::exchange(to_prove_, {});
  w_.prove(id_, [self = shared_from_this(), fence = fence_, next = next_offset_,
                 claimed = writer_ != nullptr] {
    events::FrameReader reader(*self->w_.parts.log, self->id_, fence, next);
    Status ours;
    while (ours) {
      if (self->w_.stopping) {
        ours = fail(Code::kUnavailable, "the node is stopping");
        break;
      }
      auto frames = reader.next();
      if (!frames) ours = tl::unexpected(frames.error());
      if (!frames || frames->empty()) break;
      if (!claimed || Epoch{frames->back().frame->epoch()} > fence.epoch())
        ours = fail(Code::kFenced, "another node has claimed the partition");
    }
    self->post([self, ours, next] { self->proven(ours, next); });
  });
}

void Partition::proven(const Status& ours, Offset up_to) {
  proving_ = false;
  const auto read = std::exchange(in_proof_, {});  // empty when the partition was dropped meanwhile
  if (!ours && ours.error().code == Code::kFenced && here_ && !read.empty()) {
    fail_partition(ours.error());
    for (const auto& c : read) c.failed(ours.error());
    return;
  }
  const Position position{id_, Offset{up_to.value ? up_to.value - 1 : 0}};
  for (const auto& c : read) {
    if (ours)
      c.valid(position);
    else
      c.failed({Code::kUnavailable, "the log cannot be asked just now; try again shortly", {}});
  }
  start_proof();
}

}  // namespace soma::runtime
