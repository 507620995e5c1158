// A host that takes every command and has nothing to show.
#pragma once

#include "tests/support/bare_host.h"

namespace soma::runtime::erasure {

class TakingHost final : public BareHost {
 public:
  void submit(Submission, OnAccepted done) override { done(Accepted{{}, {}, Sequence{1}}); }
};

}  // namespace soma::runtime::erasure
