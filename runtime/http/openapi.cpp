// openapi.json 3.1 from the route table and its schemas.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "runtime/http/router.h"
#include "runtime/http/text.h"

namespace soma::runtime::http {
namespace {

namespace json = boost::json;

const char* type_name(FieldType type) {
  switch (type) {
    case FieldType::kString:
      return "string";
    case FieldType::kInt:
      return "integer";
    case FieldType::kNumber:
      return "number";
    case FieldType::kBool:
      return "boolean";
    case FieldType::kObject:
      return "object";
    case FieldType::kArray:
      return "array";
    case FieldType::kAny:
      break;
  }
  return "";
}

json::object reference(const Schema& schema, json::object& components) {
  if (schema.name.empty()) return json_schema(schema, components);
  if (!components.contains(schema.name)) {
    components[schema.name] = json::object();  // breaks cycles
    components[schema.name] = json_schema(schema, components);
  }
  return {{"$ref", "#/components/schemas/" + schema.name}};
}

json::object content(const std::string& type, json::object schema) {
  return {{type, json::object{{"schema", std::move(schema)}}}};
}

// Whole bounds read better as integers.
json::value bound(double v) {
  const auto whole = static_cast<std::int64_t>(v);
  return static_cast<double>(whole) == v ? json::value(whole) : json::value(v);
}

json::object problem_schema() {
  return json::object{
      {"type", "object"},
      {"properties",
       json::object{
           {"type", json::object{{"type", "string"}}},
           {"title", json::object{{"type", "string"}}},
           {"status", json::object{{"type", "integer"}}},
           {"detail", json::object{{"type", "string"}}},
           {"code", json::object{{"type", "string"}}},
           {"errors", json::object{{"type", "array"},
                                   {"items", json::object{{"type", "object"},
                                                          {"required",
                                                           json::array{"loc", "msg", "type"}}}}}}}},
      {"required", json::array{"type", "title", "status", "detail", "code"}}};
}

json::array parameters(const Route& route, json::object& components) {
  json::array out;
  std::string_view rest = route.pattern;
  for (auto open = rest.find('{'); open != rest.npos; open = rest.find('{')) {
    const auto close = rest.find('}', open);
    out.push_back(json::object{{"name", std::string(rest.substr(open + 1, close - open - 1))},
                               {"in", "path"},
                               {"required", true},
                               {"schema", json::object{{"type", "string"}, {"minLength", 1}}}});
    rest.remove_prefix(close);
  }
  for (const Field& f : route.query)
    out.push_back(json::object{{"name", f.name},
                               {"in", "query"},
                               {"required", f.required},
                               {"schema", json_schema(f, components)}});
  if (route.method != "GET" && route.capability != "public")
    out.push_back(json::object{{"name", "Idempotency-Key"},
                               {"in", "header"},
                               {"required", false},
                               {"schema", json::object{{"type", "string"}, {"maxLength", 255}}}});
  return out;
}

json::object responses(const Route& route, json::object& components) {
  json::object out;
  for (const ResponseDoc& doc : route.responses) {
    json::object entry{
        {"description", doc.description.empty() ? status_text(doc.status) : doc.description}};
    if (doc.schema)
      entry["content"] = content(doc.content_type, reference(*doc.schema, components));
    else if (doc.content_type != "application/json" && doc.status != 204)
      entry["content"] = content(doc.content_type, {});
    out[std::to_string(doc.status)] = std::move(entry);
  }
  if (out.empty()) out["200"] = json::object{{"description", "OK"}};
  out["default"] = json::object{
      {"description", "A problem (RFC 9457)"},
      {"content", content("application/problem+json", {{"$ref", "#/components/schemas/Problem"}})}};
  return out;
}

// POST /v1/sessions/{id}/messages -> post_v1_sessions_id_messages
std::string operation_id(const Route& route) {
  std::string out;
  for (const char c : route.method + route.pattern) {
    if (c >= 'A' && c <= 'Z')
      out += static_cast<char>(c + 32);
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
      out += c;
    else if (!out.ends_with('_') && c != '}')
      out += '_';
  }
  return out;
}

// `seen` keeps ids apart: /v1/infer_sync and /v1/infer/sync read alike.
json::object operation(const Route& route, json::object& components,
                       std::map<std::string, int>& seen) {
  std::string id = operation_id(route);
  if (const int n = ++seen[id]; n > 1) id += "_" + std::to_string(n);
  json::object out{
      {"operationId", id}, {"summary", route.summary}, {"x-soma-capability", route.capability}};
  if (!route.tag.empty()) out["tags"] = json::array{json::value(route.tag)};
  if (auto list = parameters(route, components); !list.empty()) out["parameters"] = std::move(list);
  if (route.request) {
    const bool required =
        std::ranges::any_of(route.request->fields, [](const Field& f) { return f.required; });
    out["requestBody"] = json::object{
        {"required", required},
        {"content", content("application/json", reference(*route.request, components))}};
  } else if (route.raw_body) {
    out["requestBody"] = json::object{{"content", content("*/*", {})}};
  }
  out["responses"] = responses(route, components);
  if (route.streaming) out["x-soma-streaming"] = true;
  if (route.websocket) out["x-soma-websocket"] = true;
  out["security"] = route.capability == "public"
                        ? json::array()
                        : json::array{json::object{{"bearer", json::array()}}};
  return out;
}

}  // namespace

json::object json_schema(const Field& f, json::object& components) {
  json::object out;
  if (f.type == FieldType::kObject && f.schema) {
    out = reference(*f.schema, components);
  } else if (f.type != FieldType::kAny) {
    if (f.nullable)
      out["type"] = json::array{type_name(f.type), "null"};
    else
      out["type"] = type_name(f.type);
  }
  if (!f.description.empty()) out["description"] = f.description;
  if (f.min) out["minimum"] = bound(*f.min);
  if (f.max) out["maximum"] = bound(*f.max);
  const bool array = f.type == FieldType::kArray;
  if (f.min_length) out[array ? "minItems" : "minLength"] = *f.min_length;
  if (f.max_length) out[array ? "maxItems" : "maxLength"] = *f.max_length;
  json::array allowed;
  for (const auto& value : f.one_of) allowed.emplace_back(value);
  if (array && f.items) {
    Field item;
    item.type = *f.items;
    item.schema = f.schema;
    item.one_of = f.one_of;
    out["items"] = json_schema(item, components);
  } else if (!allowed.empty()) {
    if (f.nullable) allowed.emplace_back(nullptr);
    out["enum"] = std::move(allowed);
  }
  return out;
}

json::object json_schema(const Schema& schema, json::object& components) {
  json::object properties;
  json::array required;
  for (const Field& f : schema.fields) {
    properties[f.name] = json_schema(f, components);
    if (f.required) required.emplace_back(f.name);
  }
  json::object out{{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) out["required"] = std::move(required);
  if (!schema.description.empty()) out["description"] = schema.description;
  return out;
}

json::object Router::openapi(const ApiInfo& info) const {
  json::object components{{"Problem", problem_schema()}};
  json::object paths;
  std::map<std::string, int> seen;
  for (const auto& route : routes_) {
    auto& item = paths[route->pattern];
    if (!item.is_object()) item = json::object();
    std::string method = route->method;
    std::ranges::transform(method, method.begin(),
                           [](char c) { return static_cast<char>(c | 0x20); });
    item.get_object()[method] = operation(*route, components, seen);
  }
  json::object about{{"title", info.title}, {"version", info.version}};
  if (!info.description.empty()) about["description"] = info.description;
  return {{"openapi", "3.1.0"},
          {"info", std::move(about)},
          {"paths", std::move(paths)},
          {"components",
           json::object{{"schemas", std::move(components)},
                        {"securitySchemes",
                         json::object{{"bearer", json::object{{"type", "http"},
                                                              {"scheme", "bearer"},
                                                              {"bearerFormat", "JWT"}}}}}}}};
}

}  // namespace soma::runtime::http
