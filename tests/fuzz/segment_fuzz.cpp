// Fuzzes a segment file: any bytes, then a good segment with the input written over a part of it.
// Whatever is reported as a record must be one that was written, in order; a change behind which
// synced rounds stand must be called damage.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "events/embedded/scan.h"
#include "tests/fuzz/check.h"

using namespace soma::events;
using soma::fuzz::check;

namespace {

constexpr std::uint32_t kSalt = 0x5eed5a17;
constexpr std::size_t kSegment = 64 << 10;
constexpr int kRounds = 6;

struct Good {
  std::string bytes;
  std::uint64_t end = 0;               // byte after the last round
  std::vector<std::uint64_t> records;  // where each begins
};

const Good& good() {
  static const Good instance = [] {
    Good g;
    const auto header = make_segment_header(3, 0, 1, kSegment, kSalt);
    g.bytes.assign(reinterpret_cast<const char*>(&header), sizeof header);
    for (int round = 1; round <= kRounds; ++round) {
      std::string bytes(sizeof(RoundHeader), '\0');
      for (std::uint32_t p = 0; p < 3; ++p) {
        g.records.push_back(g.bytes.size() + bytes.size());
        put_record(bytes, p, static_cast<std::uint64_t>(round - 1), std::string(40, 'r'));
      }
      seal_round(bytes, static_cast<std::uint64_t>(round), 3, kSalt);
      g.bytes += bytes;
    }
    g.end = g.bytes.size();
    g.bytes.resize(kSegment, '\0');
    return g;
  }();
  return instance;
}

void any_bytes(std::string_view input) {
  std::uint64_t last = 0;
  (void)scan_bytes(input, {}, [&](const ScannedRecord& r) {
    check(r.byte > last && r.byte + kRecordHeaderBytes + r.bytes <= input.size());
    last = r.byte;
  });
}

void written_over(std::string_view input) {
  const Good& g = good();
  const auto at = static_cast<std::size_t>(static_cast<std::uint8_t>(input[0]) << 8 |
                                           static_cast<std::uint8_t>(input[1])) %
                  (g.end + 256);
  input.remove_prefix(2);
  std::string bytes = g.bytes;
  bytes.replace(at, std::min(input.size(), bytes.size() - at), input.substr(0, bytes.size() - at));
  bytes.resize(kSegment);
  Mark mark;
  mark.round = kRounds;
  mark.end = g.end;
  mark.clean = true;
  std::size_t count = 0;
  const auto damage = scan_bytes(bytes, mark, [&](const ScannedRecord& r) {
    check(count < g.records.size() && r.byte == g.records[count]);
    check(r.partition.value == count % 3 && r.offset.value == count / 3);
    ++count;
  });
  if (bytes == g.bytes) return check(!damage && count == g.records.size());
  check(damage.has_value());  // the log was closed: nothing of it may have changed
  check(damage->byte <= kSegment);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  any_bytes(input);
  if (input.size() > 2) written_over(input);
  return 0;
}
