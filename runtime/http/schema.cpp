// Validation of bodies and queries against field tables.
#include "runtime/http/schema.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <charconv>
#include <cmath>

#include "runtime/http/text.h"

namespace soma::runtime::http {
namespace {

namespace json = boost::json;
using Loc = std::vector<std::string>;

struct Check {
  bool refuse_unknown;
  std::vector<FieldError> errors{};

  void add(const Loc& loc, std::string msg, const char* type) {
    if (errors.size() < kMaxFieldErrors) errors.push_back({loc, std::move(msg), type});
  }
  void object(const Schema& schema, const json::object& value, const Loc& loc);
  void field(const Field& field, const json::value& value, const Loc& loc);
  void text(const Field& field, std::string_view value, const Loc& loc);
  void number(const Field& field, double value, const Loc& loc);
  void array(const Field& field, const json::array& value, const Loc& loc);
};

std::string shown(double v) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v);
  return {buffer, end.ptr};
}

Loc below(const Loc& loc, std::string part) {
  Loc out = loc;
  out.push_back(std::move(part));
  return out;
}

void Check::text(const Field& f, std::string_view value, const Loc& loc) {
  if (f.min_length && value.size() < *f.min_length)
    return add(loc,
               *f.min_length == 1
                   ? std::string("must not be empty")
                   : "must have at least " + std::to_string(*f.min_length) + " bytes",
               "too_short");
  if (f.max_length && value.size() > *f.max_length)
    return add(loc, "must have at most " + std::to_string(*f.max_length) + " bytes", "too_long");
  if (!f.one_of.empty() && !std::ranges::count(f.one_of, value)) {
    std::string all;
    for (const auto& allowed : f.one_of) (all += all.empty() ? "" : ", ") += allowed;
    add(loc, "must be one of " + all, "enum");
  }
}

void Check::number(const Field& f, double value, const Loc& loc) {
  if (f.min && value < *f.min) add(loc, "must be at least " + shown(*f.min), "less_than_min");
  if (f.max && value > *f.max) add(loc, "must be at most " + shown(*f.max), "greater_than_max");
}

void Check::array(const Field& f, const json::array& value, const Loc& loc) {
  if (f.min_length && value.size() < *f.min_length)
    add(loc, "must have at least " + std::to_string(*f.min_length) + " entries", "too_short");
  if (f.max_length && value.size() > *f.max_length)
    return add(loc, "must have at most " + std::to_string(*f.max_length) + " entries", "too_long");
  if (!f.items) return;
  Field item;
  item.type = *f.items;
  item.schema = f.schema;
  item.one_of = f.one_of;
  for (std::size_t i = 0; i < value.size() && errors.size() < kMaxFieldErrors; ++i)
    field(item, value[i], below(loc, std::to_string(i)));
}

void Check::field(const Field& f, const json::value& value, const Loc& loc) {
  switch (f.type) {
    case FieldType::kString:
      if (const auto* s = value.if_string()) return text(f, {s->data(), s->size()}, loc);
      return add(loc, "must be a string", "string_type");
    case FieldType::kInt:
      if (const auto* i = value.if_int64()) return number(f, static_cast<double>(*i), loc);
      if (const auto* u = value.if_uint64()) {
        if (!f.max) return add(loc, "is too large", "greater_than_max");
        return number(f, static_cast<double>(*u), loc);
      }
      return add(loc, "must be a whole number", "int_type");
    case FieldType::kNumber:
      if (value.is_number()) return number(f, value.to_number<double>(), loc);
      return add(loc, "must be a number", "number_type");
    case FieldType::kBool:
      if (!value.is_bool()) add(loc, "must be true or false", "bool_type");
      return;
    case FieldType::kObject:
      if (!value.is_object()) return add(loc, "must be an object", "object_type");
      if (f.schema) object(*f.schema, value.get_object(), loc);
      return;
    case FieldType::kArray:
      if (!value.is_array()) return add(loc, "must be an array", "array_type");
      return array(f, value.get_array(), loc);
    case FieldType::kAny:
      return;
  }
}

void Check::object(const Schema& schema, const json::object& value, const Loc& loc) {
  for (const Field& f : schema.fields) {
    const auto* member = value.if_contains(f.name);
    const bool absent = member == nullptr || (f.nullable && member->is_null());
    if (!absent)
      field(f, *member, below(loc, f.name));
    else if (f.required)
      add(below(loc, f.name), "is required", "missing");
  }
  if (!refuse_unknown || schema.open) return;
  for (const auto& member : value) {
    const std::string_view name(member.key().data(), member.key().size());
    if (!std::ranges::any_of(schema.fields, [&](const Field& f) { return f.name == name; }))
      add(below(loc, std::string(name.substr(0, 128))), "is not known here", "extra_forbidden");
  }
}

// The JSON value that a query string stands for; null when it is none of the type.
json::value query_json(FieldType type, const std::string& text) {
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (type == FieldType::kInt) {
    std::int64_t i = 0;
    const auto r = std::from_chars(begin, end, i);
    return r.ec == std::errc() && r.ptr == end ? json::value(i) : json::value();
  }
  if (type == FieldType::kNumber) {
    double d = 0;
    const auto r = std::from_chars(begin, end, d);
    return r.ec == std::errc() && r.ptr == end && std::isfinite(d) ? json::value(d) : json::value();
  }
  if (type == FieldType::kBool) {
    if (text == "true" || text == "1") return true;
    if (text == "false" || text == "0") return false;
    return {};
  }
  return json::value(text);
}

}  // namespace

SchemaRef make_schema(std::string name, std::vector<Field> fields, bool open) {
  Schema schema;
  schema.name = std::move(name);
  schema.fields = std::move(fields);
  schema.open = open;
  return std::make_shared<const Schema>(std::move(schema));
}

std::vector<FieldError> validate(const Schema& schema, const json::value& value,
                                 bool refuse_unknown, const std::string& root) {
  Check check{refuse_unknown};
  if (value.is_object())
    check.object(schema, value.get_object(), {root});
  else
    check.add({root}, "must be an object", "object_type");
  return std::move(check.errors);
}

std::vector<FieldError> validate_query(const std::vector<Field>& fields,
                                       const std::multimap<std::string, std::string>& query,
                                       bool refuse_unknown) {
  Check check{refuse_unknown};
  for (const Field& f : fields) {
    const auto [begin, end] = query.equal_range(f.name);
    if (begin == end && f.required) check.add({"query", f.name}, "is required", "missing");
    if (f.type != FieldType::kArray && std::distance(begin, end) > 1)
      check.add({"query", f.name}, "stands more than once", "too_long");
    else if (f.type != FieldType::kArray && begin != end)
      check.field(f, query_json(f.type, begin->second), {"query", f.name});
  }
  if (refuse_unknown)
    for (const auto& entry : query)
      if (!std::ranges::any_of(fields, [&](const Field& f) { return f.name == entry.first; }))
        check.add({"query", entry.first.substr(0, 128)}, "is not known here", "extra_forbidden");
  return std::move(check.errors);
}

}  // namespace soma::runtime::http
