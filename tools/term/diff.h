// What differs between two JSON values.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

namespace soma::cli {

// One entry a difference, in order: {path, change: added|removed|changed, from, to}. Paths are
// JSON pointers ("/turns/0/answer"). Equal values give an empty list.
boost::json::array diff(const boost::json::value& from, const boost::json::value& to);

}  // namespace soma::cli
