// The one registry of stable error codes; each has a disposition, an HTTP status and a visibility.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace soma {

// Code, HTTP status, disposition (reply: answer the caller; retry: safe to try again; park: stop
// this actor; crash: stop the process), and whether the detail text may leave the process.
#define SOMA_ERROR_CODES(X)                                             \
  X(kInvalidArgument, "invalid_argument", 422, kReply, true)            \
  X(kMalformed, "malformed", 400, kReply, true)                         \
  X(kUnauthenticated, "unauthenticated", 401, kReply, true)             \
  X(kForbidden, "forbidden", 403, kReply, true)                         \
  X(kPolicyDenied, "policy_denied", 403, kReply, true)                  \
  X(kConstitutionMissing, "constitution_missing", 403, kReply, true)    \
  X(kNotFound, "not_found", 404, kReply, true)                          \
  X(kMethodNotAllowed, "method_not_allowed", 405, kReply, true)         \
  X(kConflict, "conflict", 409, kReply, true)                           \
  X(kVersionMismatch, "version_mismatch", 412, kReply, true)            \
  X(kTooLarge, "too_large", 413, kReply, true)                          \
  X(kUnsupportedMediaType, "unsupported_media_type", 415, kReply, true) \
  X(kRateLimited, "rate_limited", 429, kRetry, true)                    \
  X(kBudgetExhausted, "budget_exhausted", 429, kReply, true)            \
  X(kHeadersTooLarge, "headers_too_large", 431, kReply, true)           \
  X(kInternal, "internal", 500, kPark, false)                           \
  X(kNotSupported, "not_supported", 501, kReply, true)                  \
  X(kModelUnavailable, "model_unavailable", 503, kRetry, true)          \
  X(kOverloaded, "overloaded", 503, kRetry, true)                       \
  X(kUnavailable, "unavailable", 503, kRetry, true)                     \
  X(kUnknownOutcome, "unknown_outcome", 503, kRetry, true)              \
  X(kParked, "actor_parked", 503, kRetry, true)                         \
  X(kDeadlineExceeded, "deadline_exceeded", 504, kRetry, true)          \
  X(kStorageFull, "storage_full", 507, kRetry, true)                    \
  X(kIo, "io_error", 500, kCrash, false)                                \
  X(kCorrupt, "corrupt", 500, kCrash, true)                             \
  X(kFenced, "fenced", 503, kRetry, false)                              \
  X(kLocked, "locked", 409, kReply, true)                               \
  X(kCancelled, "cancelled", 409, kReply, true)

enum class Code : std::uint16_t {
#define SOMA_X(name, text, http, disposition, visible) name,
  SOMA_ERROR_CODES(SOMA_X)
#undef SOMA_X
};

enum class Disposition : std::uint8_t { kReply, kRetry, kPark, kCrash };

std::string_view code_name(Code code);  // "invalid_argument"
int code_http_status(Code code);        // 422
Disposition code_disposition(Code code);
bool code_is_public(Code code);              // may the detail leave the process?
Code code_from_name(std::string_view name);  // kInternal when unknown

// One sentence that says what is wrong and, where it can, the field and the fix.
struct Error {
  Code code = Code::kInternal;
  std::string message;
  std::string field;                // "body.prompt"; empty when no single field is at fault
  std::int64_t retry_after_ms = 0;  // the other side asked to wait so long; 0: it did not say
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(Code code, std::string message, std::string field = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(field), 0});
}

}  // namespace soma
