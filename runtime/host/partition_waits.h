// Who waits for a partition's frames.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/host/host.h"

namespace soma::runtime {

// A client's command in a frame.
struct Answer {
  Host::OnAccepted done;
  StateStore::DedupeRow row;  // its position is that of the frame
  bool once = false;
};

// Told when what it depends on is durable and valid, or that it is not.
struct Completion {
  std::function<void(Position)> valid;
  std::function<void(const Error&)> failed;
};

// Of one command id while its command is not yet valid.
struct Dedupe {
  std::string request_hash;
  std::vector<std::pair<std::string, Host::OnAccepted>> waiting;  // of duplicates: their hash
};

}  // namespace soma::runtime
