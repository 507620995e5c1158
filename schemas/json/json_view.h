// Any message as JSON by reflection: snake_case, every scalar field, numbers as numbers.
#pragma once

#include <google/protobuf/message.h>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace soma {

// Left out are only unset messages and the unset cases of a oneof.
boost::json::object json_of(const google::protobuf::Message& message);

// What an Event message's one case holds; empty when none is set.
boost::json::object event_data(const google::protobuf::Message& event);

}  // namespace soma
