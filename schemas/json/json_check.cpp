// Read and thrown away.
#include "schemas/json/json_check.h"

#include <boost/json/parse.hpp>

namespace soma {

bool is_json_object(std::string_view text) {
  boost::system::error_code bad;
  const auto value = boost::json::parse(text, bad);
  return !bad && value.is_object();
}

}  // namespace soma
