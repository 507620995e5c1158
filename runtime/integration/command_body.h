// A record's value as the JSON body of its command's route, in whichever form it came.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/integration/commands.h"
#include "schemas/base/errors.h"

namespace soma::runtime::integration {

// A CloudEvent that is one JSON object (content-type application/cloudevents+json).
struct StructuredEvent {
  std::optional<std::string> specversion, id, type, somatenant, traceparent, content_type;
  std::string data;  // bytes: of `data` as JSON, or of `data_base64`
};
inline constexpr std::string_view kStructuredType = "application/cloudevents+json";

// kMalformed, kInvalidArgument (names the attribute). A token in it is refused: it belongs in the
// header ce_somatoken, which no dead letter and no log repeats.
Result<StructuredEvent> parse_structured(std::string_view value);

// `value` as JSON, by its content type: JSON as it is (also where none is told), protobuf
// (application/protobuf or application/x-protobuf) as the command's message of integration.proto.
// kUnsupportedMediaType, kMalformed (not that message, or with fields that this build does not
// know).
Result<std::string> json_body(const CommandRow& row, const std::optional<std::string>& content_type,
                              std::string value);

}  // namespace soma::runtime::integration
