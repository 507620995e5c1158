// HTTP clients on one thread, each with at most one request under way: a closed loop, or an open
// one at a given rate.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/base/errors.h"
#include "tools/bench/figures.h"

namespace soma::bench {

struct HttpAnswer {
  int status = 0;
  std::string_view body;     // chunks joined
  bool retry_after = false;  // it says when to come again
};

// What a client does. One operation is one or more requests; its latency runs from the first byte
// sent (in an open loop: from when it should have been) to the last byte of the last answer.
struct HttpScript {
  std::uint16_t port = 0;
  std::size_t clients = 128;
  double warm_s = 1, seconds = 5;
  // Operations begun a second, whatever the answers; one that finds no idle client is not sent.
  // 0: a closed loop, each client begins the next operation when it has its answer.
  double rate = 0;
  // Bytes of the operation's first request.
  std::function<std::string(std::size_t client)> begin;
  // Bytes of the next request; nothing: the operation is complete. Null: one request each.
  std::function<std::optional<std::string>(std::size_t client, const HttpAnswer&)> next;
  // Whether an operation's last answer is what it should be; others count as errors.
  std::function<bool(const HttpAnswer&)> good;
  // Whether one that is not good is a refusal as promised, which is no error. Null: none is.
  std::function<bool(const HttpAnswer&)> refused;
};

struct LoadResult {
  Histogram latencies;  // of good operations that ended within the measured time
  Histogram refusals;   // of refused ones
  std::uint64_t errors = 0;
  std::uint64_t unsent = 0;  // of an open loop: no client was idle
  std::string first_error;   // what an answer or a connection said
  double seconds = 0;
};

// Connections are kept where the server keeps them. Blocking. kUnavailable when nothing listens.
Result<LoadResult> run_http(const HttpScript& script, const std::function<void()>& measuring = {});

// One request, blocking; for setting up.
Result<std::pair<int, std::string>> http_once(std::uint16_t port, const std::string& bytes);

std::string http_request(std::string_view method, std::string_view path, std::string_view body = {},
                         std::string_view headers = {});  // headers: whole lines

}  // namespace soma::bench
