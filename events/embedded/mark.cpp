// Reading and writing the mark's 32 bytes: one sector, so never half new.
#include "events/embedded/mark.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "events/embedded/segment.h"

namespace soma::events {

std::string encode_mark(const Mark& mark) {
  std::string out(kMarkBytes, '\0');
  const std::uint32_t clean = mark.clean ? 1 : 0;
  std::memcpy(out.data(), &mark.round, 8);
  std::memcpy(out.data() + 8, &mark.segment, 8);
  std::memcpy(out.data() + 16, &mark.end, 8);
  std::memcpy(out.data() + 24, &clean, 4);
  const std::uint32_t crc = crc32c(std::string_view(out).substr(0, 28));
  std::memcpy(out.data() + 28, &crc, 4);
  return out;
}

Result<Mark> read_mark(const std::string& folder) {
  const std::string path = folder + "/mark";
  std::ifstream in(path, std::ios::binary);
  if (!in) return Mark{};
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  if (bytes.find_first_not_of('\0') == std::string::npos) return Mark{};
  std::uint32_t crc = 0, clean = 0;
  if (bytes.size() == kMarkBytes) std::memcpy(&crc, bytes.data() + 28, 4);
  if (bytes.size() != kMarkBytes || crc != crc32c(std::string_view(bytes).substr(0, 28)))
    return fail(Code::kCorrupt, path + " at byte 0: the mark of synced bytes does not check");
  Mark mark;
  std::memcpy(&mark.round, bytes.data(), 8);
  std::memcpy(&mark.segment, bytes.data() + 8, 8);
  std::memcpy(&mark.end, bytes.data() + 16, 8);
  std::memcpy(&clean, bytes.data() + 24, 4);
  mark.clean = clean == 1;
  return mark;
}

}  // namespace soma::events
