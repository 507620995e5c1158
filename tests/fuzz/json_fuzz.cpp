// Fuzzes the strict JSON reader: no crash, and what is accepted means the same when written and
// read again.
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "runtime/http/json_strict.h"
#include "runtime/http/schema.h"

using namespace soma::runtime::http;

namespace {
const SchemaRef& schema() {
  static const SchemaRef instance =
      make_schema("F", {{.name = "prompt", .required = true, .min_length = 1, .max_length = 64},
                        {.name = "n", .type = FieldType::kInt, .min = 0.0},
                        {.name = "list", .type = FieldType::kArray, .items = FieldType::kString}});
  return instance;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = parse_json_strict(text);
  if (!value) {
    if (value.error().message.empty()) std::abort();
    return 0;
  }
  const auto again = parse_json_strict(boost::json::serialize(*value));
  if (!again || *again != *value) std::abort();
  if (validate(*schema(), *value, true).size() > kMaxFieldErrors) std::abort();
  return 0;
}
