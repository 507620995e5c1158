// Whose an entry is.
#pragma once

#include <string>

#include "soma/v1/frame.pb.h"

namespace soma::events {

// "$system" and its like own what is of no tenant: then it is the caller's.
inline const std::string& tenant_of(const v1::Entry& entry) {
  const auto& owner = entry.actor().tenant();
  return owner.starts_with('$') ? entry.context().principal().tenant() : owner;
}

}  // namespace soma::events
