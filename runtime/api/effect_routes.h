// Routes of outside work: what is pending, and what a person must settle.
#pragma once

#include "runtime/api/api.h"

namespace soma::runtime::api {

void register_effects(http::Router& router, const Node& node);

}  // namespace soma::runtime::api
