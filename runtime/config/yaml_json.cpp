// A walk over yaml-cpp's nodes, bounded: aliases may refer to the same node again and again.
#include "runtime/config/yaml_json.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>

namespace soma::runtime {

namespace json = boost::json;

namespace {

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxValues = 100'000;

json::value scalar(const YAML::Node& node) {
  const std::string& s = node.Scalar();
  if (node.Tag() == "!") return json::value(s);  // quoted
  if (s == "true") return true;
  if (s == "false") return false;
  if (s == "null" || s == "~" || s.empty()) return nullptr;
  const auto* end = s.data() + s.size();
  std::int64_t whole = 0;
  if (auto r = std::from_chars(s.data(), end, whole); r.ec == std::errc() && r.ptr == end)
    return whole;
  double number = 0;
  if (auto r = std::from_chars(s.data(), end, number);
      r.ec == std::errc() && r.ptr == end && std::isfinite(number))
    return number;
  return json::value(s);
}

Result<json::value> convert(const YAML::Node& node, int depth, std::size_t& values) {
  if (depth > kMaxDepth || ++values > kMaxValues)
    return fail(Code::kMalformed, "the YAML is over 32 deep or holds over 100000 values");
  if (node.IsSequence()) {
    json::array out;
    for (const auto& item : node) {
      auto v = convert(item, depth + 1, values);
      if (!v) return v;
      out.push_back(std::move(*v));
    }
    return json::value(std::move(out));
  }
  if (!node.IsMap()) return node.IsScalar() ? scalar(node) : json::value(nullptr);
  json::object out;
  for (const auto& member : node) {
    const std::string where = "line " + std::to_string(member.first.Mark().line + 1);
    if (!member.first.IsScalar()) return fail(Code::kMalformed, where + ": a key is no text");
    if (out.contains(member.first.Scalar()))
      return fail(Code::kMalformed, where + ": " + member.first.Scalar() + " is given twice");
    auto v = convert(member.second, depth + 1, values);
    if (!v) return v;
    out[member.first.Scalar()] = std::move(*v);
  }
  return json::value(std::move(out));
}

}  // namespace

Result<json::value> json_of_yaml(const std::string& text) {
  try {
    std::size_t values = 0;
    return convert(YAML::Load(text), 0, values);
  } catch (const YAML::Exception& e) {
    return fail(Code::kMalformed,
                "line " + std::to_string(e.mark.line + 1) + ": no YAML: " + e.msg);
  }
}

}  // namespace soma::runtime
