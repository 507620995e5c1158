// The walk over a message's descriptor, beside the walk over its fields in json_view.cpp.
#include "schemas/json/json_schema.h"

#include <boost/json/array.hpp>

#include "soma/v1/common.pb.h"

namespace soma {
namespace {

namespace json = boost::json;
namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

json::object one_of(const char* usual, const char* other) {
  return {{"type", json::array{usual, other}}};
}

json::object enumeration(const pb::EnumDescriptor& type) {
  json::array names;
  for (int i = 0; i < type.value_count(); ++i) names.emplace_back(type.value(i)->name());
  return {{"type", "string"}, {"enum", std::move(names)}};
}

json::object value_schema(const Field& f, json::object& components) {
  switch (f.cpp_type()) {
    case Field::CPPTYPE_INT32:
    case Field::CPPTYPE_UINT32:
      return {{"type", "integer"}};
    case Field::CPPTYPE_INT64:
    case Field::CPPTYPE_UINT64:
      return one_of("integer", "string");  // beyond 2^53
    case Field::CPPTYPE_DOUBLE:
    case Field::CPPTYPE_FLOAT:
      return one_of("number", "null");  // not a number, infinite
    case Field::CPPTYPE_BOOL:
      return {{"type", "boolean"}};
    case Field::CPPTYPE_ENUM:
      return enumeration(*f.enum_type());
    case Field::CPPTYPE_STRING:
      if (f.type() == Field::TYPE_BYTES) return {{"type", "string"}, {"contentEncoding", "base64"}};
      return {{"type", "string"}};
    case Field::CPPTYPE_MESSAGE:
      return json_schema_of(*f.message_type(), components);
  }
  std::abort();
}

json::object field_schema(const Field& f, json::object& components) {
  if (f.options().GetExtension(v1::secret)) return {{"const", "***"}};
  if (f.is_map())
    return {{"type", "object"},
            {"additionalProperties", value_schema(*f.message_type()->map_value(), components)}};
  if (f.is_repeated()) return {{"type", "array"}, {"items", value_schema(f, components)}};
  return value_schema(f, components);
}

}  // namespace

json::object json_schema_of(const pb::Descriptor& type, json::object& components) {
  const std::string& name = type.full_name();
  if (!components.contains(name)) {
    components[name] = json::object();  // breaks cycles
    json::object properties;
    json::array required;
    for (int i = 0; i < type.field_count(); ++i) {
      const Field& f = *type.field(i);
      properties[f.name()] = field_schema(f, components);
      if (!f.has_presence()) required.emplace_back(f.name());
    }
    json::object schema{{"type", "object"}, {"properties", std::move(properties)}};
    if (!required.empty()) schema["required"] = std::move(required);
    components[name] = std::move(schema);
  }
  return {{"$ref", "#/components/schemas/" + name}};
}

}  // namespace soma
