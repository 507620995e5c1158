// Reading and writing a partition through the fence: valid frames in, valid frames out.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/bookmark.h"
#include "events/fence.h"
#include "events/log.h"
#include "events/sealer.h"

namespace soma::events {

struct ValidFrame {
  Position position;
  std::shared_ptr<const v1::Frame> frame;
  std::string hash;  // of the stored bytes
};

inline constexpr std::size_t kMaxRecordBytes =
    900 * 1024;  // what one frame may take; Kafka's default fits it

// How much a reader of all takes at a time: what is decoded of it, some four times as much, stays
// in a processor's cache. At 4 MiB a fold was half as fast.
inline constexpr std::size_t kReadBytes = 256 * 1024;

// Decodes stored bytes. kCorrupt when they are not a Frame of a known format. Without a sealer the
// frame is as stored.
Result<std::shared_ptr<const v1::Frame>> decode_frame(std::string_view bytes,
                                                      const Sealer* sealer = nullptr);
// The bytes to store. Fails only with a sealer.
Result<std::string> encode_frame(const v1::Frame& frame, const Sealer* sealer);
std::string encode_frame(const v1::Frame& frame);

// Valid frames of one partition from the start of the log, or from a saved fence. Not thread-safe.
class FrameReader {
 public:
  FrameReader(const Log& log, PartitionId partition);
  // Continue after a place known valid (a checkpoint): the fence as it stood there, the next offset
  // to read.
  FrameReader(const Log& log, PartitionId partition, Fence fence, Offset next);
  // The bookmark must hold (events::holds).
  FrameReader(const Log& log, PartitionId partition, Bookmark from);

  // The next valid frames; empty at the end of the durable log. Undecodable record: kCorrupt with
  // position.
  Result<std::vector<ValidFrame>> next(std::size_t max_bytes = kReadBytes);
  // Frames as they are stored, personal data sealed: what hashes and exports are made of.
  void as_stored() { sealer_ = nullptr; }
  const Fence& fence() const { return at_.fence; }
  PartitionId partition() const { return partition_; }
  Offset next_offset() const { return at_.next; }
  const Bookmark& bookmark() const { return at_; }  // after what was read
  std::uint64_t voided() const { return voided_; }  // records read and found void or duplicate
 private:
  const Log& log_;
  const Sealer* sealer_;
  PartitionId partition_;
  Bookmark at_;
  std::uint64_t voided_ = 0;
};

// The valid frames of a whole log, partition by partition, until `visit` says false or fails.
Status each_frame(const Log& log, const std::function<Result<bool>(const ValidFrame&)>& visit);

// One frame, decoded, at a position known to be valid.
Result<ValidFrame> read_frame_at(const Log& log, Position position);

// The owner's pen. Used by one thread; outcomes come in order of append, on an engine thread (or,
// once the writer is dead and nothing is in flight, at once). A frame is reported valid only when
// durable and proven unfenced: its offset is the last proven own offset + 1 (then nobody wrote
// between), else by reading the gap. After the first failure every later frame is reported failed
// and the writer is dead: claim anew.
class FrameWriter {
 public:
  struct Outcome {
    bool valid = false;
    ValidFrame frame;  // when valid
    Error error;       // kUnknownOutcome, kFenced, kStorageFull, kIo
  };
  using OnOutcome = std::function<void(const Outcome&)>;

  // Appends CLAIM(epoch + 1) after `reader` has reached the end, and reads to it. Blocking. kFenced
  // when lost, also to a higher claim already seen behind the own one. `between` gets the valid
  // frames that another owner's last breath put before the claim.
  static Result<std::unique_ptr<FrameWriter>> claim(
      Log& log, FrameReader& reader, v1::Claim claim, std::int64_t now_ms,
      const std::function<void(const ValidFrame&)>& between);

  // Fills format, partition, epoch, number, previous_hash; appends, sealed by the log's sealer.
  // kTooLarge, and the sealer's failures, are returned at once through on_outcome, before anything
  // was written, and leave the writer alive.
  void append(v1::Frame frame, OnOutcome on_outcome);

  Epoch epoch() const;
  std::size_t in_flight() const;
  bool dead() const;
  ~FrameWriter();

 private:
  struct Shared;
  explicit FrameWriter(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;
};

}  // namespace soma::events
