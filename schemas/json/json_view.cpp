// The walk over a message's fields.
#include "schemas/json/json_view.h"

#include <boost/json/array.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "schemas/base/base64.h"
#include "soma/v1/common.pb.h"

namespace soma {
namespace {

namespace json = boost::json;
namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

constexpr std::int64_t kExact = 1LL << 53;  // beyond it a double no longer holds every integer

json::value whole(std::int64_t v) {
  return v >= -kExact && v <= kExact ? json::value(v) : json::value(std::to_string(v));
}
json::value whole(std::uint64_t v) {
  return v <= static_cast<std::uint64_t>(kExact) ? json::value(v) : json::value(std::to_string(v));
}

json::value real(double v) { return std::isfinite(v) ? json::value(v) : json::value(nullptr); }

// The shortest text of the float, read back: 0.1f shows as 0.1.
json::value real(float v) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, v);
  double wide = v;
  std::from_chars(text, end.ptr, wide);
  return real(wide);
}

json::value text(const Field& field, const std::string& value) {
  return field.type() == Field::TYPE_BYTES ? json::value(base64(value)) : json::value(value);
}

json::value enumerator(const Field& field, int number) {
  const auto* value = field.enum_type()->FindValueByNumber(number);
  return value ? json::value(value->name()) : json::value(number);
}

json::value single(const pb::Message& m, const Field& f) {
  const auto& r = *m.GetReflection();
  switch (f.cpp_type()) {
    case Field::CPPTYPE_INT32:
      return whole(static_cast<std::int64_t>(r.GetInt32(m, &f)));
    case Field::CPPTYPE_INT64:
      return whole(static_cast<std::int64_t>(r.GetInt64(m, &f)));
    case Field::CPPTYPE_UINT32:
      return whole(static_cast<std::uint64_t>(r.GetUInt32(m, &f)));
    case Field::CPPTYPE_UINT64:
      return whole(static_cast<std::uint64_t>(r.GetUInt64(m, &f)));
    case Field::CPPTYPE_DOUBLE:
      return real(r.GetDouble(m, &f));
    case Field::CPPTYPE_FLOAT:
      return real(r.GetFloat(m, &f));
    case Field::CPPTYPE_BOOL:
      return r.GetBool(m, &f);
    case Field::CPPTYPE_ENUM:
      return enumerator(f, r.GetEnumValue(m, &f));
    case Field::CPPTYPE_STRING:
      return text(f, r.GetString(m, &f));
    case Field::CPPTYPE_MESSAGE:
      return json_of(r.GetMessage(m, &f));
  }
  std::abort();
}

json::value element(const pb::Message& m, const Field& f, int i) {
  const auto& r = *m.GetReflection();
  switch (f.cpp_type()) {
    case Field::CPPTYPE_INT32:
      return whole(static_cast<std::int64_t>(r.GetRepeatedInt32(m, &f, i)));
    case Field::CPPTYPE_INT64:
      return whole(static_cast<std::int64_t>(r.GetRepeatedInt64(m, &f, i)));
    case Field::CPPTYPE_UINT32:
      return whole(static_cast<std::uint64_t>(r.GetRepeatedUInt32(m, &f, i)));
    case Field::CPPTYPE_UINT64:
      return whole(static_cast<std::uint64_t>(r.GetRepeatedUInt64(m, &f, i)));
    case Field::CPPTYPE_DOUBLE:
      return real(r.GetRepeatedDouble(m, &f, i));
    case Field::CPPTYPE_FLOAT:
      return real(r.GetRepeatedFloat(m, &f, i));
    case Field::CPPTYPE_BOOL:
      return r.GetRepeatedBool(m, &f, i);
    case Field::CPPTYPE_ENUM:
      return enumerator(f, r.GetRepeatedEnumValue(m, &f, i));
    case Field::CPPTYPE_STRING:
      return text(f, r.GetRepeatedString(m, &f, i));
    case Field::CPPTYPE_MESSAGE:
      return json_of(r.GetRepeatedMessage(m, &f, i));
  }
  std::abort();
}

// A map's key as a member's name.
std::string key_text(const json::value& v) {
  if (v.is_string()) return std::string(v.get_string());
  if (v.is_bool()) return v.get_bool() ? "true" : "false";
  return v.is_uint64() ? std::to_string(v.get_uint64()) : std::to_string(v.get_int64());
}

json::value repeated(const pb::Message& m, const Field& f) {
  const auto& r = *m.GetReflection();
  const int size = r.FieldSize(m, &f);
  if (f.is_map()) {
    json::object out;
    for (int i = 0; i < size; ++i) {
      const auto& entry = r.GetRepeatedMessage(m, &f, i);
      out[key_text(single(entry, *f.message_type()->map_key()))] =
          single(entry, *f.message_type()->map_value());
    }
    return out;
  }
  json::array out;
  out.reserve(static_cast<std::size_t>(size));
  for (int i = 0; i < size; ++i) out.push_back(element(m, f, i));
  return out;
}

}  // namespace

json::object json_of(const pb::Message& m) {
  json::object out;
  const auto& r = *m.GetReflection();
  const auto& d = *m.GetDescriptor();
  for (int i = 0; i < d.field_count(); ++i) {
    const Field& f = *d.field(i);
    const bool optional = f.has_presence();
    if (optional && !r.HasField(m, &f)) continue;
    if (f.options().GetExtension(v1::secret))
      out[f.name()] = "***";
    else
      out[f.name()] = f.is_repeated() ? repeated(m, f) : single(m, f);
  }
  return out;
}

json::object event_data(const pb::Message& event) {
  const auto& d = *event.GetDescriptor();
  const auto& r = *event.GetReflection();
  for (int i = 0; i < d.oneof_decl_count(); ++i)
    if (const auto* f = r.GetOneofFieldDescriptor(event, d.oneof_decl(i));
        f && f->cpp_type() == Field::CPPTYPE_MESSAGE)
      return json_of(r.GetMessage(event, f));
  return {};
}

}  // namespace soma
