// Decoding stored bytes and reading a partition's valid frames.
#include "events/frames.h"

#include <google/protobuf/arena.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>

#include "schemas/base/sha256.h"

namespace soma::events {

namespace {
constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kMaxStoredRecordBytes =
    16 << 20;  // generous: what other builds may have written
}  // namespace

namespace {

// A decoded frame lives and goes as one: its thousands of small parts in one arena, not one by one.
struct ArenaFrame {
  explicit ArenaFrame(const google::protobuf::ArenaOptions& options) : arena(options) {}
  google::protobuf::Arena arena;
  v1::Frame* frame = google::protobuf::Arena::CreateMessage<v1::Frame>(&arena);
};

std::shared_ptr<v1::Frame> new_frame(std::size_t stored_bytes) {
  google::protobuf::ArenaOptions options;
  // Rounded to 8 bytes: cleanups are laid from a block's end, and must be aligned too.
  options.start_block_size =
      std::clamp<std::size_t>((stored_bytes * 3 + 7) & ~std::size_t{7}, 256, 256 * 1024);
  auto owner = std::make_shared<ArenaFrame>(options);
  return {owner, owner->frame};
}

}  // namespace

Result<std::shared_ptr<const v1::Frame>> decode_frame(std::string_view bytes,
                                                      const Sealer* sealer) {
  auto frame = new_frame(bytes.size());
  if (bytes.size() > kMaxStoredRecordBytes)
    return fail(Code::kCorrupt, "record is larger than any frame");
  if (!frame->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail(Code::kCorrupt, "record is not a frame");
  if (frame->format() != kFormat)
    return fail(Code::kCorrupt, "frame of unknown format " + std::to_string(frame->format()));
  if (frame->epoch() == 0) return fail(Code::kCorrupt, "frame without an epoch");
  if ((frame->number() == 0) != frame->has_claim())
    return fail(Code::kCorrupt, "frame 0 must be a claim, and only it");
  if (sealer)
    for (auto& entry : *frame->mutable_entries())
      if (entry.sealed_size() > 0)
        if (auto opened = sealer->open(entry); !opened) return tl::unexpected(opened.error());
  return std::shared_ptr<const v1::Frame>(std::move(frame));
}

std::string encode_frame(const v1::Frame& frame) { return frame.SerializeAsString(); }

// The same bytes as without a sealer, but for the entries that it changes.
Result<std::string> encode_frame(const v1::Frame& frame, const Sealer* sealer) {
  const auto personal = [&](const v1::Entry& e) { return sealer->personal(e.actor().type()); };
  if (!sealer || std::none_of(frame.entries().begin(), frame.entries().end(), personal))
    return encode_frame(frame);
  v1::Frame head, tail;  // what stands before the entries, and behind them
  head.set_format(frame.format());
  head.set_partition(frame.partition());
  head.set_epoch(frame.epoch());
  head.set_number(frame.number());
  head.set_previous_hash(frame.previous_hash());
  head.set_time_ms(frame.time_ms());
  *head.mutable_touched() = frame.touched();
  *tail.mutable_inputs() = frame.inputs();
  std::string out = head.SerializeAsString();
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  for (const auto& entry : frame.entries()) {
    std::string bytes = entry.SerializeAsString();
    if (personal(entry))
      if (auto sealed = sealer->seal(entry, bytes); !sealed) return tl::unexpected(sealed.error());
    coded.WriteTag(v1::Frame::kEntriesFieldNumber << 3 | 2);
    coded.WriteVarint32(static_cast<std::uint32_t>(bytes.size()));
    coded.WriteString(bytes);
  }
  coded.WriteString(tail.SerializeAsString());
  coded.Trim();
  return out;
}

FrameReader::FrameReader(const Log& log, PartitionId partition)
    : log_(log), sealer_(log.sealer()), partition_(partition) {}

FrameReader::FrameReader(const Log& log, PartitionId partition, Fence fence, Offset next)
    : log_(log),
      sealer_(log.sealer()),
      partition_(partition),
      at_{next, std::move(fence), {}, {}} {}

FrameReader::FrameReader(const Log& log, PartitionId partition, Bookmark from)
    : log_(log), sealer_(log.sealer()), partition_(partition), at_(std::move(from)) {}

Result<std::vector<ValidFrame>> FrameReader::next(std::size_t max_bytes) {
  std::vector<ValidFrame> out;
  const auto at = [this](Offset offset) {
    return "partition " + std::to_string(partition_.value) + " offset " +
           std::to_string(offset.value) + ": ";
  };
  while (out.empty()) {  // a batch may hold void records only
    auto records = log_.read(partition_, at_.next, max_bytes);
    if (!records) return tl::unexpected(records.error());
    if (records->empty()) return out;
    for (auto& record : *records) {
      auto frame = decode_frame(record.bytes, sealer_);
      if (!frame) return fail(frame.error().code, at(record.offset) + frame.error().message);
      if ((*frame)->partition() != partition_.value)
        return fail(Code::kCorrupt, at(record.offset) + "a frame of partition " +
                                        std::to_string((*frame)->partition()));
      std::string hash = sha256(record.bytes);
      if (at_.fence.admit(**frame, hash) == Verdict::kValid) {
        at_.last = record.offset;
        at_.last_hash = hash;
        out.push_back({{partition_, record.offset}, std::move(*frame), std::move(hash)});
      } else {
        ++voided_;
      }
      at_.next = record.offset.next();
    }
  }
  return out;
}

Status each_frame(const Log& log, const std::function<Result<bool>(const ValidFrame&)>& visit) {
  for (std::uint32_t p = 0; p < log.partition_count(); ++p) {
    FrameReader reader(log, PartitionId{p});
    for (;;) {
      auto frames = reader.next();
      if (!frames) return tl::unexpected(frames.error());
      if (frames->empty()) break;
      for (const auto& frame : *frames) {
        const auto more = visit(frame);
        if (!more) return tl::unexpected(more.error());
        if (!*more) return {};
      }
    }
  }
  return {};
}

Result<ValidFrame> read_frame_at(const Log& log, Position position) {
  auto records = log.read(position.partition, position.offset, 1);
  if (!records) return tl::unexpected(records.error());
  if (records->empty() || records->front().offset != position.offset)
    return fail(Code::kNotFound, "no record at position " + to_string(position));
  auto frame = decode_frame(records->front().bytes, log.sealer());
  if (!frame)
    return fail(frame.error().code,
                "position " + to_string(position) + ": " + frame.error().message);
  return ValidFrame{position, std::move(*frame), sha256(records->front().bytes)};
}

}  // namespace soma::events
