// The route table: what exists, who may call it, what it takes; matching and openapi.json.
#pragma once

#include <boost/json/object.hpp>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/request.h"
#include "runtime/http/schema.h"
#include "runtime/http/stream.h"

namespace soma::runtime::http {

struct ResponseDoc {
  int status = 200;
  std::string description{};
  SchemaRef schema{};  // null: no body, or one that is not described
  std::string content_type = "application/json";
};

struct Route {
  std::string method{};      // GET, POST, PUT, DELETE, PATCH; HEAD and OPTIONS come by themselves
  std::string pattern{};     // "/v1/sessions/{id}"; a parameter is one whole segment
  std::string capability{};  // "session:start"; "public": no token needed; "authenticated": any
  std::string summary{};
  std::string tag{};                     // area in openapi.json
  SchemaRef request{};                   // set: the body is JSON and is validated against it
  std::vector<Field> query{};            // query parameters, validated
  std::vector<ResponseDoc> responses{};  // of success; problems are described for every route
  std::size_t body_limit = 0;            // bytes; 0: the server's default (1 MiB)
  bool idempotent_write = false;         // honours Idempotency-Key (documented)
  bool secret_answer = false;            // holds a secret: never kept for a retry
  bool streaming = false;                // may answer with text/event-stream
  bool websocket = false;                // GET with an upgrade; Responder::stream() accepts it
  bool raw_body = false;                 // a body of any content type, not parsed
  Handler handler{};
};

// Filled once, before the server starts; then only read, from any thread.
class Router {
 public:
  Router();
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  // Aborts on a route that cannot be meant: empty capability, twice the same method and pattern,
  // a parameter named twice. Literal segments win over parameters.
  void add(Route route);
  void add(Route route, Handler handler) {
    route.handler = std::move(handler);
    add(std::move(route));
  }

  struct Match {
    const Route* route = nullptr;  // null: no such method here
    std::map<std::string, std::string> params;
    bool known_path = false;  // some route has this path
    std::string allow;        // "GET, HEAD, OPTIONS" when the method is not here
  };
  // `path` is the target's raw path; segments are percent-decoded one by one.
  Match match(std::string_view method, std::string_view path) const;

  const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }  // as added
  // The handlers end, with what they own. When nobody asks any more.
  void clear();

  struct ApiInfo {
    std::string title = "SomaStack";
    std::string version = "0.1.0";
    std::string description{};
  };
  // OpenAPI 3.1 of all routes, each with x-soma-capability.
  boost::json::object openapi(const ApiInfo& info) const;

 private:
  struct Node;
  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<Node> root_;
};

}  // namespace soma::runtime::http
