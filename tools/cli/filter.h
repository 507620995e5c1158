// --filter: conditions on the fields of listed items.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "schemas/base/errors.h"

namespace soma::cli {

// All conditions must hold. FIELD may be a dotted path.
class Filter {
 public:
  // "FIELD=VALUE", "FIELD!=VALUE", "FIELD~PART". kInvalidArgument names the text at fault.
  static Result<Filter> parse(const std::vector<std::string>& texts);
  bool matches(const boost::json::value& item) const;

 private:
  struct Condition {
    std::string field, value;
    char kind;  // '=', '!', '~'
  };
  std::vector<Condition> conditions_;
};

}  // namespace soma::cli
