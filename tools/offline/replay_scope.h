// Which recorded commands a replay is about.
#pragma once

#include <functional>
#include <string>

#include "schemas/base/errors.h"
#include "schemas/base/ids.h"

namespace soma::cli {

// As given on the command line; empty members narrow nothing.
struct ReplayScope {
  std::string from, to;  // a position, which narrows its partition, or a UTC time; both inclusive
  std::string actor;     // TENANT/TYPE/ID or TYPE/ID
  std::string tenant;
};

using Wanted = std::function<bool(const ActorKey&, Position, std::int64_t time_ms)>;

// Empty: everything. kInvalidArgument.
Result<Wanted> wanted_of(const ReplayScope& scope);
// kNotFound when an actor or a tenant was asked for and none of its commands was there.
Status matched(const ReplayScope& scope, std::uint64_t commands);
std::string to_string(const ReplayScope& scope);

}  // namespace soma::cli
