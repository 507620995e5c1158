// IANA time zones, from the system's zoneinfo.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/base/errors.h"
#include "soma/v1/tenant.pb.h"

namespace soma::runtime::api {

// Offsets of `zone` from now on for ten years; the first is that of now. kInvalidArgument, with
// `field`, for a name that is no zone; kUnavailable where the system has no zoneinfo.
Result<std::vector<v1::ZoneOffset>> zone_offsets(const std::string& zone, std::int64_t now_s,
                                                 const std::string& field);

}  // namespace soma::runtime::api
