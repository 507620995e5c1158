// What is otherwise in a what-if, read from files and put into recorded commands.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>

#include "schemas/base/errors.h"
#include "soma/v1/session.pb.h"
#include "tools/offline/what_if.h"

namespace soma::cli {

// The changes, read once.
struct Changes {
  boost::json::object policy, settings, rules;
  std::string model, constitution_hash;
  bool constitution = false;
  std::optional<std::string> cedar;  // policy rules in place of the recorded ones

  // kInvalidArgument names the flag whose file holds a field that there is not.
  Status apply(v1::SessionCommand& command, const WhatIf& w) const;
};

// kNotFound, kInvalidArgument: with the flag.
Result<Changes> read_changes(const WhatIf& w);

}  // namespace soma::cli
