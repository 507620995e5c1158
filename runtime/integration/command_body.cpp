// Protobuf by reflection, CloudEvents by their attributes.
#include "runtime/integration/command_body.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <boost/json.hpp>

#include "runtime/http/json_strict.h"
#include "runtime/http/text.h"
#include "schemas/base/base64.h"
#include "schemas/json/json_text.h"

namespace soma::runtime::integration {

namespace json = boost::json;

namespace {

bool is_protobuf(std::string_view type) {
  const auto bare = type.substr(0, type.find(';'));
  return bare == "application/protobuf" || bare == "application/x-protobuf";
}

Result<std::string> from_protobuf(const CommandRow& row, const std::string& value) {
  const auto message = row.new_body();
  const auto name = message->GetDescriptor()->full_name();
  if (!message->ParseFromString(value))
    return fail(Code::kMalformed, "the value is not a " + name, "value");
  if (const auto& unknown = message->GetReflection()->GetUnknownFields(*message); !unknown.empty())
    return fail(Code::kMalformed,
                "field " + std::to_string(unknown.field(0).number()) + " is not one of " + name,
                "value");
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string out;
  if (!google::protobuf::util::MessageToJsonString(*message, &out, options).ok())
    return fail(Code::kMalformed, "the value holds what JSON cannot", "value");
  return out;
}

Error wrong(const char* attribute, const char* what) {
  return {Code::kInvalidArgument, std::string(attribute) + " " + what, attribute};
}

// Nothing: absent.
Result<std::optional<std::string>> text(const json::object& event, const char* attribute) {
  const auto* value = event.if_contains(attribute);
  if (!value) return std::nullopt;
  if (!value->is_string()) return tl::unexpected(wrong(attribute, "must be a text"));
  return std::string(value->as_string());
}

Result<std::string> data_of(const json::object& event) {
  const auto* data = event.if_contains("data");
  const auto* packed = event.if_contains("data_base64");
  if ((data != nullptr) == (packed != nullptr))
    return tl::unexpected(wrong("data", "or data_base64 must be there, and not both"));
  if (data) return json_text(*data);
  auto bytes = packed->is_string() ? unbase64(packed->as_string()) : std::nullopt;
  if (!bytes) return tl::unexpected(wrong("data_base64", "must be base64"));
  return std::move(*bytes);
}

}  // namespace

Result<StructuredEvent> parse_structured(std::string_view value) {
  const auto parsed = http::parse_json_strict(value);
  if (!parsed)
    return fail(Code::kMalformed, "the value is not JSON: " + parsed.error().message, "value");
  const auto* event = parsed->if_object();
  if (!event) return fail(Code::kMalformed, "the value must be one JSON object", "value");
  if (event->contains("somatoken"))
    return tl::unexpected(wrong("somatoken", "belongs in the record's header ce_somatoken"));
  StructuredEvent out;
  for (const auto& [name, field] : {std::pair{"specversion", &out.specversion},
                                    {"id", &out.id},
                                    {"type", &out.type},
                                    {"somatenant", &out.somatenant},
                                    {"traceparent", &out.traceparent},
                                    {"datacontenttype", &out.content_type}}) {
    auto found = text(*event, name);
    if (!found) return tl::unexpected(found.error());
    *field = std::move(*found);
  }
  if (!out.specversion) return tl::unexpected(wrong("specversion", "is missing"));
  auto data = data_of(*event);
  if (!data) return tl::unexpected(data.error());
  out.data = std::move(*data);
  return out;
}

Result<std::string> json_body(const CommandRow& row, const std::optional<std::string>& content_type,
                              std::string value) {
  if (content_type && is_protobuf(*content_type)) return from_protobuf(row, value);
  if (content_type && !http::is_json_content_type(*content_type))
    return fail(Code::kUnsupportedMediaType,
                "content-type must be application/json, application/protobuf or " +
                    std::string(kStructuredType),
                "content-type");
  return value;
}

}  // namespace soma::runtime::integration
