// Lookup tables of the error registry.
#include "schemas/base/errors.h"

namespace soma {
namespace {
struct Row {
  Code code;
  std::string_view name;
  int http;
  Disposition disposition;
  bool visible;
};
constexpr Row kRows[] = {
#define SOMA_X(name, text, http, disposition, visible) \
  {Code::name, text, http, Disposition::disposition, visible},
    SOMA_ERROR_CODES(SOMA_X)
#undef SOMA_X
};
const Row& row(Code code) { return kRows[static_cast<std::size_t>(code)]; }
}  // namespace

std::string_view code_name(Code code) { return row(code).name; }
int code_http_status(Code code) { return row(code).http; }
Disposition code_disposition(Code code) { return row(code).disposition; }
bool code_is_public(Code code) { return row(code).visible; }

Code code_from_name(std::string_view name) {
  for (const Row& r : kRows)
    if (r.name == name) return r.code;
  return Code::kInternal;
}

}  // namespace soma
