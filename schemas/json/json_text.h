// A JSON value as text: numbers as people write them.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>

namespace soma {

// Compact. A double is the shortest text that reads back as the same double, with a fraction or an
// exponent so that it stays one: 0.92, 8.0, 1e+22. Not finite: null. Boost.JSON's own serializer
// writes 9.2E-1 and 8E0 for these.
std::string json_text(const boost::json::value& value);
std::string json_text(const boost::json::object& object);

}  // namespace soma
