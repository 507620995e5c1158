// What requests to a model server have in common: how they begin, and why they failed.
#pragma once

#include <memory>

#include "runtime/effects/http_loop.h"
#include "runtime/effects/slm_client.h"

namespace soma::runtime {

std::unique_ptr<HttpCall> new_call(const SlmEndpoint& endpoint, const char* path);
bool answered(const HttpEnd& end);  // whole, with status 200
Error failure(const HttpEnd& end);  // of a request that got no proper answer
// Servers may repeat the key in what they say: every piece of it of 8 bytes or more (of a shorter
// key: all of it) is replaced by ***.
Error without_key(Error error, std::string_view api_key);

}  // namespace soma::runtime
