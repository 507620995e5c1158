// Fuzzes the reading of foreign records: no crash; what is taken has a sound key and a route; what
// is refused can be kept as a dead letter that is JSON and holds no token. Input: lines
// "NAME=VALUE" of headers, an empty line, the value.
#include <boost/json/parse.hpp>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "runtime/integration/command_record.h"
#include "runtime/integration/dead_letter.h"

using namespace soma;
using namespace soma::runtime;

namespace {

events::TopicRecord record_of(std::string_view input) {
  events::TopicRecord record;
  record.topic = "soma.commands";
  while (!input.empty()) {
    const auto end = std::min(input.find('\n'), input.size());
    const auto line = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    if (line.empty()) break;
    const auto equals = std::min(line.find('='), line.size());
    record.headers.emplace_back(line.substr(0, equals),
                                line.substr(std::min(equals + 1, line.size())));
  }
  record.key = input.substr(0, input.size() / 4);
  record.value = input;
  return record;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto record = record_of({reinterpret_cast<const char*>(data), size});
  (void)integration::is_ours(record);
  const auto command = integration::decode_command(record);
  if (command) {
    if (command->row == nullptr || command->id.empty() || command->id.size() > 255) std::abort();
    for (const unsigned char c : command->id)
      if (c < 0x20 || c > 0x7E) std::abort();
    const auto head = integration::request_head(*command);
    if (head.headers.count("Idempotency-Key") != 1 || head.headers.count("Authorization") > 1)
      std::abort();
  } else if (command.error().message.empty() || code_http_status(command.error().code) >= 500) {
    std::abort();
  }
  constexpr char kToken[] = "fuzz-token-that-nobody-may-see";
  record.headers.emplace_back("ce_somatoken", kToken);
  const auto letter = integration::dead_letter(record, "d", {"malformed", "m", 0}, 0);
  boost::system::error_code bad;
  const auto parsed = boost::json::parse(letter.value, bad);
  if (bad || !parsed.is_object() || letter.value.find(kToken) != std::string::npos) std::abort();
  return 0;
}
