// By reflection, one pass, no intermediate form.
#include "projections/views/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace soma::projections {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

template <typename N>
void append_number(std::string& out, N n) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, n).ptr;
  out.append(text, end);
}

// 64-bit integers are strings in protobuf's mapping: JSON readers keep 53 bits.
template <typename N>
void append_quoted(std::string& out, N n) {
  out.push_back('"');
  append_number(out, n);
  out.push_back('"');
}

template <typename N>
void append_real(std::string& out, N x) {
  if (std::isfinite(x))
    append_number(out, x);
  else
    out += std::isnan(x) ? "\"NaN\"" : x > 0 ? "\"Infinity\"" : "\"-Infinity\"";
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.push_back('"');
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out.push_back(i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=');
  }
  out.push_back('"');
}

// `index` < 0: the field itself, not one of its elements.
void append_value(std::string& out, const Message& m, const FieldDescriptor* f, int index) {
  const Reflection& r = *m.GetReflection();
  const bool one = index < 0;
  std::string scratch;
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return append_number(out, one ? r.GetInt32(m, f) : r.GetRepeatedInt32(m, f, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return append_number(out, one ? r.GetUInt32(m, f) : r.GetRepeatedUInt32(m, f, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return append_quoted(out, one ? r.GetInt64(m, f) : r.GetRepeatedInt64(m, f, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return append_quoted(out, one ? r.GetUInt64(m, f) : r.GetRepeatedUInt64(m, f, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return append_real(out, one ? r.GetDouble(m, f) : r.GetRepeatedDouble(m, f, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return append_real(out, one ? r.GetFloat(m, f) : r.GetRepeatedFloat(m, f, index));
    case FieldDescriptor::CPPTYPE_BOOL:
      out += (one ? r.GetBool(m, f) : r.GetRepeatedBool(m, f, index)) ? "true" : "false";
      return;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = one ? r.GetEnumValue(m, f) : r.GetRepeatedEnumValue(m, f, index);
      const auto* value = f->enum_type()->FindValueByNumber(number);
      return value ? append_json_string(out, value->name()) : append_number(out, number);
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string& text = one ? r.GetStringReference(m, f, &scratch)
                                    : r.GetRepeatedStringReference(m, f, index, &scratch);
      return f->type() == FieldDescriptor::TYPE_BYTES ? append_base64(out, text)
                                                      : append_json_string(out, text);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return append_json(out, one ? r.GetMessage(m, f) : r.GetRepeatedMessage(m, f, index));
  }
}

void append_map(std::string& out, const Message& m, const FieldDescriptor* f) {
  const Reflection& r = *m.GetReflection();
  const auto* key = f->message_type()->map_key();
  std::vector<std::pair<std::string, std::string>> entries;
  for (int i = 0; i < r.FieldSize(m, f); ++i) {
    const Message& entry = r.GetRepeatedMessage(m, f, i);
    auto& [name, value] = entries.emplace_back();
    append_value(name, entry, key, -1);
    if (!name.starts_with('"')) name = '"' + name + '"';
    append_value(value, entry, f->message_type()->map_value(), -1);
  }
  std::sort(entries.begin(), entries.end());
  out.push_back('{');
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i) out.push_back(',');
    out += entries[i].first + ":" + entries[i].second;
  }
  out.push_back('}');
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out.push_back('"');
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, from, i - from);
    from = i + 1;
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == 0) {
      out += kReplacement;
    } else {
      out += "\\u00";
      out.push_back(kHex[c >> 4]);
      out.push_back(kHex[c & 15]);
    }
  }
  out.append(text, from);
  out.push_back('"');
}

void append_json(std::string& out, const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);  // set ones, in order of their numbers
  out.push_back('{');
  bool first = true;
  for (const auto* f : fields) {
    if (!std::exchange(first, false)) out.push_back(',');
    append_json_string(out, f->name());
    out.push_back(':');
    if (f->is_map()) {
      append_map(out, message, f);
    } else if (f->is_repeated()) {
      out.push_back('[');
      const int n = message.GetReflection()->FieldSize(message, f);
      for (int i = 0; i < n; ++i) {
        if (i) out.push_back(',');
        append_value(out, message, f, i);
      }
      out.push_back(']');
    } else {
      append_value(out, message, f, -1);
    }
  }
  out.push_back('}');
}

std::string_view storable(std::string_view text, std::string& scratch) {
  if (text.find('\0') == std::string_view::npos) return text;
  scratch.clear();
  for (const char c : text) {
    if (c == '\0')
      scratch += kReplacement;
    else
      scratch.push_back(c);
  }
  return scratch;
}

}  // namespace soma::projections
