// A tree of path segments; literal segments before parameters.
#include "runtime/http/router.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "runtime/http/text.h"

namespace soma::runtime::http {
namespace {

constexpr std::size_t kMaxSegments = 32;

[[noreturn]] void refuse(const Route& route, const char* why) {
  std::fprintf(stderr, "route %s %s: %s\n", route.method.c_str(), route.pattern.c_str(), why);
  std::abort();
}

// "/a/b" -> a, b. A trailing slash is an empty last segment, which no pattern has.
std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> out;
  if (path == "/") return out;
  while (path.starts_with('/') && out.size() <= kMaxSegments) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    out.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return out;
}

}  // namespace

struct Router::Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> parameter;
  std::vector<const Route*> routes;  // one per method

  // The first node with routes, literals first; `values` are the parameters' raw texts.
  const Node* find(const std::vector<std::string_view>& segments, std::size_t at,
                   std::vector<std::string_view>& values) const {
    if (at == segments.size()) return routes.empty() ? nullptr : this;
    if (const auto it = literals.find(segments[at]); it != literals.end())
      if (const Node* found = it->second->find(segments, at + 1, values)) return found;
    if (!parameter || segments[at].empty()) return nullptr;
    values.push_back(segments[at]);
    if (const Node* found = parameter->find(segments, at + 1, values)) return found;
    values.pop_back();
    return nullptr;
  }
};

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;

void Router::clear() {
  root_ = std::make_unique<Node>();
  routes_.clear();
}

void Router::add(Route route) {
  static constexpr std::string_view kMethods[] = {"GET", "POST", "PUT", "DELETE", "PATCH"};
  if (!std::ranges::count(kMethods, route.method)) refuse(route, "unknown method");
  if (!route.pattern.starts_with('/')) refuse(route, "a pattern begins with a slash");
  if (route.capability.empty()) refuse(route, "no capability; say \"public\" if it is");
  if (route.capability != "public" && route.capability != "authenticated" &&
      !security::is_valid_capability(route.capability))
    refuse(route, "a capability is area:verb");
  if (!route.handler) refuse(route, "no handler");
  Node* node = root_.get();
  std::vector<std::string_view> names;
  const auto segments = split(route.pattern);
  if (segments.size() > kMaxSegments) refuse(route, "too many segments");
  for (const auto segment : segments) {
    if (segment.empty()) refuse(route, "empty segment");
    if (segment.front() == '{') {
      if (segment.size() < 3 || segment.back() != '}') refuse(route, "bad parameter");
      if (std::ranges::count(names, segment)) refuse(route, "a parameter stands twice");
      names.push_back(segment);
      if (!node->parameter) node->parameter = std::make_unique<Node>();
      node = node->parameter.get();
    } else {
      auto& next = node->literals[std::string(segment)];
      if (!next) next = std::make_unique<Node>();
      node = next.get();
    }
  }
  for (const Route* other : node->routes)
    if (other->method == route.method) refuse(route, "exists already");
  routes_.push_back(std::make_unique<Route>(std::move(route)));
  node->routes.push_back(routes_.back().get());
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
  Match out;
  const auto segments = split(path);
  if (segments.size() > kMaxSegments || !path.starts_with('/')) return out;
  std::vector<std::string_view> values;
  const Node* node = root_->find(segments, 0, values);
  if (node == nullptr) return out;
  std::vector<std::string> decoded;
  for (const auto value : values) {
    auto text = percent_decode(value, false);
    if (!text || text->empty()) return out;  // no such object can exist
    decoded.push_back(std::move(*text));
  }
  out.known_path = true;
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  for (const Route* route : node->routes)
    if (route->method == wanted) out.route = route;
  if (out.route == nullptr) {
    for (const Route* route : node->routes) {
      out.allow += route->method + ", ";
      if (route->method == "GET") out.allow += "HEAD, ";
    }
    out.allow += "OPTIONS";
    return out;
  }
  std::size_t at = 0;
  for (const auto segment : split(out.route->pattern))
    if (segment.front() == '{')
      out.params.emplace(segment.substr(1, segment.size() - 2), std::move(decoded[at++]));
  return out;
}

}  // namespace soma::runtime::http
