// Who changed what holds for all tenants.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace soma::runtime::api {

// `who` is TENANT/SUBJECT, or empty; null where that is not the caller's tenant.
inline boost::json::value changed_by(const std::string& who, const std::string& callers_tenant) {
  if (!who.starts_with(callers_tenant + "/")) return nullptr;
  return boost::json::value(who);
}

}  // namespace soma::runtime::api
