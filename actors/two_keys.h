// What deciders share that keep one thing in force (`active`), whose next version may wait for a
// second person (`proposed`, `approval_id`). Deciding only: folding stays with each type, whose
// code digest must cover it.
#pragma once

#include <cstdint>
#include <string>

#include "schemas/base/errors.h"

namespace soma::actors::two_keys {

constexpr std::int64_t kOpenMs = 7LL * 24 * 3600 * 1000;  // how long the second key may take

template <typename Decided, typename State>
Decided unchanged(const State& s) {
  Decided d;
  if (s.has_active()) *d.reply.mutable_active() = s.active();
  d.reply.set_approval_id(s.approval_id());
  return d;
}

template <typename State>
bool waits_for(const State& s, const std::string& approval_id) {
  return s.has_proposed() && s.approval_id() == approval_id;
}

template <typename Decided>
void withdraw(Decided& d, const std::string& approval_id, const std::string& by,
              const std::string& reason) {
  auto* withdrawn = d.events.emplace_back().mutable_withdrawn();
  withdrawn->set_approval_id(approval_id);
  withdrawn->set_by(by);
  withdrawn->set_reason(reason);
}

template <typename Decided, typename State, typename Rejected>
Result<Decided> rejected(const State& s, const Rejected& c) {
  auto d = unchanged<Decided>(s);
  if (waits_for(s, c.approval_id())) withdraw(d, c.approval_id(), c.rejected_by(), c.reason());
  return d;
}

}  // namespace soma::actors::two_keys
