// A frame that was handed to the log, and who waits for it.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "actors/decider.h"
#include "runtime/host/host.h"
#include "runtime/host/ports.h"
#include "soma/v1/frame.pb.h"
#include "soma/v1/host.pb.h"

namespace soma::runtime {

// A client's command in a frame.
struct PendingAnswer {
  Host::OnAccepted done;
  StateStore::DedupeRow row;  // its position is that of the frame
  bool once = false;
};

// Told when what it depends on is durable and valid, or that it is not.
struct Completion {
  std::function<void(Position)> valid;
  std::function<void(const Error&)> failed;
};

struct PendingFrame {
  std::vector<Completion> completions;
  std::vector<std::pair<ActorKey, std::vector<actors::Effect>>> effects;
  std::vector<v1::OutboxItem> outbox;
  std::vector<PendingAnswer> answers;
  std::vector<v1::InputPosition> inputs;
  std::int64_t began_us = 0;
  std::size_t events = 0;

  void fail(const Error& error) {
    for (auto& a : answers) a.done(tl::unexpected(error));
    for (auto& c : completions) c.failed(error);
  }
};

}  // namespace soma::runtime
