// Whether a caller may use a route, and what it is told otherwise.
#pragma once

#include <string>

#include "runtime/security/authenticator.h"
#include "schemas/base/errors.h"

namespace soma::runtime::security {

// `capability` is area:verb, or "authenticated": any caller with a token. kForbidden names it.
inline Status may(const v1::Principal& principal, const std::string& capability) {
  if (capability == "authenticated" || has_capability(principal, capability)) return {};
  return fail(Code::kForbidden, "this needs the capability " + capability);
}

}  // namespace soma::runtime::security
