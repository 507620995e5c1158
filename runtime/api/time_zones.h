// IANA time zones, from the system's zoneinfo.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/base/errors.h"
#include "soma/v1/tenant.pb.h"

namespace soma::runtime::api {

inline constexpr const char* kZoneFolder = "/usr/share/zoneinfo/";

// Offsets of `zone` from now on for ten years (actors::kZoneAheadS); the first is that of now.
// kInvalidArgument, with `field`, for a name that is no zone, or one whose rule for later years
// cannot be read; kUnavailable where the system has no zoneinfo.
Result<std::vector<v1::ZoneOffset>> zone_offsets(const std::string& zone, std::int64_t now_s,
                                                 const std::string& field,
                                                 const std::string& folder = kZoneFolder);

}  // namespace soma::runtime::api
