// Times as text.
#pragma once

#include <cstdint>
#include <string>

namespace soma {

std::string iso_time(std::int64_t unix_ms);  // 2026-01-31T09:30:00.000Z

}  // namespace soma
