// What the routes of users and of services have in common: how they are read, listed and shown.
#pragma once

#include <map>

#include "actors/identity/identity.h"
#include "runtime/api/pages.h"
#include "runtime/api/views.h"
#include "soma/v1/identity.pb.h"

namespace soma::runtime::api {

// The tenant's users and services, or the problem.
inline void with_identity(const Node& node, const RequestPtr& r, const http::Responder& responder,
                          std::function<void(const v1::IdentityState&)> next) {
  node.host->read(actors::identity_key(r->tenant()),
                  [responder, next = std::move(next)](Result<StateView> v) {
                    if (!v) return responder.send(problem_of(v.error()));
                    next(static_cast<const v1::IdentityState&>(*v->state));
                  });
}

// One of them with its ETag.
template <typename One>
http::Response with_tag(const One& one, const boost::json::object& view) {
  auto response = http::json_response(200, view);
  response.header("ETag", "\"" + actors::version_tag(one) + "\"");
  return response;
}

// By id; the cursor is the last one shown.
template <typename All, typename View>
http::Response page_by_id(const All& all, const http::Request& r, const View& view) {
  std::map<std::string, const typename All::mapped_type*> sorted;
  for (const auto& [id, one] : all) sorted[id] = &one;
  return page_by_key(sorted, r, [&](const auto* one) { return view(*one); });
}

}  // namespace soma::runtime::api
