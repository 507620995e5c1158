// YAML as JSON: for files that people write.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "schemas/base/errors.h"

namespace soma::runtime {

// One document of at most 100,000 values, 32 deep. Plain scalars are null, booleans and numbers as
// in JSON where they look so; quoted ones are strings. JSON is YAML. kMalformed names the line.
Result<boost::json::value> json_of_yaml(const std::string& text);

}  // namespace soma::runtime
