// One table of fields that validates request bodies and describes them in openapi.json.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/http/request.h"

namespace soma::runtime::http {

enum class FieldType : std::uint8_t { kString, kInt, kNumber, kBool, kObject, kArray, kAny };

struct Schema;

struct Field {
  std::string name{};
  FieldType type = FieldType::kString;
  bool required = false;
  std::string description{};
  std::optional<double> min{};  // of numbers
  std::optional<double> max{};
  std::optional<std::size_t> min_length{};  // bytes of strings, entries of arrays
  std::optional<std::size_t> max_length{};
  std::vector<std::string> one_of{};       // allowed strings
  bool nullable = false;                   // null counts as absent
  std::optional<FieldType> items{};        // of arrays: each entry's type; with `schema` kObject
  std::shared_ptr<const Schema> schema{};  // of objects and array entries; null: any members
};

struct Schema {
  std::string name{};  // "SessionStart": its name under components.schemas
  std::vector<Field> fields{};
  bool open = false;  // unknown members are welcome in every mode
  std::string description{};
};
using SchemaRef = std::shared_ptr<const Schema>;

// make_schema("SessionStart", {{.name = "prompt", .required = true, .max_length = 65536}, …})
SchemaRef make_schema(std::string name, std::vector<Field> fields, bool open = false);

// What is wrong with `value`, at most kMaxFieldErrors entries; loc begins with `root`.
// Types: missing, string_type, int_type, number_type, bool_type, object_type, array_type,
// too_short, too_long, less_than_min, greater_than_max, enum, extra_forbidden.
inline constexpr std::size_t kMaxFieldErrors = 32;
std::vector<FieldError> validate(const Schema& schema, const boost::json::value& value,
                                 bool refuse_unknown, const std::string& root = "body");
// Query strings against the route's table (ints, numbers and booleans as text).
std::vector<FieldError> validate_query(const std::vector<Field>& fields,
                                       const std::multimap<std::string, std::string>& query,
                                       bool refuse_unknown);

// JSON Schema 2020-12 of one field or schema; named schemas are collected in `components`.
boost::json::object json_schema(const Field& field, boost::json::object& components);
boost::json::object json_schema(const Schema& schema, boost::json::object& components);

}  // namespace soma::runtime::http
