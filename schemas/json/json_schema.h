// JSON Schema of what json_of() makes of a message type.
#pragma once

#include <google/protobuf/descriptor.h>

#include <boost/json/object.hpp>
#include <string>

namespace soma {

// {"$ref": "#/components/schemas/soma.v1.NAME"}; the schema (2020-12) and all that it names are put
// into `components`.
boost::json::object json_schema_of(const google::protobuf::Descriptor& type,
                                   boost::json::object& components);

}  // namespace soma
